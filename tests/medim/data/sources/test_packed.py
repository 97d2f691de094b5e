"""Cached pictures give the very pairs they were made of, are made once, and only where pictures are of one size."""

import errno
import pickle

import numpy as np
import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.data.phantom import DEFAULT
from medim.data.phantom.worlds import WORLDS, default_world
from medim.data.sources import packed
from medim.data.sources.packed import CachedPictures, cache_pictures


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Four pairs a part, each part opened anew in each test."""
    monkeypatch.setattr(packed, "PART_BYTES", 4 * 64 * 64 * 3)
    packed._opened.cache_clear()


def test_the_pairs_are_the_same(tmp_path):
    base = default_world()
    cached = cache_pictures(base, "val", tmp_path, limit=10)
    assert len([*tmp_path.glob("pictures-*/*.arrow")]) == 3
    for index in (0, 3, 4, 9, 10, 1023):  # the last two are made when asked for
        one, two = base.pair("val", index), cached.pair("val", index)
        assert np.array_equal(np.asarray(one.image), np.asarray(two.image))
        assert {k: v for k, v in vars(one).items() if k != "image"} == {k: v for k, v in vars(two).items() if k != "image"}
    assert (cached.name, cached.fingerprint, cached.size("val")) == (base.name, base.fingerprint, 1024)
    assert cached.keys("val", 3) == base.keys("val", 3)
    with pytest.raises(IndexError):
        cached.pair("val", 1024)


def test_nothing_is_drawn_twice(tmp_path, monkeypatch):
    cache_pictures(default_world(), "val", tmp_path, limit=8)
    asked: list[int] = []
    draw = WORLDS[DEFAULT].pair
    monkeypatch.setattr(WORLDS[DEFAULT], "pair", lambda self, split, index: asked.append(index) or draw(self, split, index))
    again = cache_pictures(default_world(), "val", tmp_path, limit=9)
    assert asked == [0, 8, 9, 10, 11]  # the first tells the size; the third part was missing
    assert pickle.loads(pickle.dumps(again)).pair("val", 5).id == "phantom-val-00005"
    assert len(asked) == 5


def test_what_a_killed_writer_left_of_a_part_goes_with_the_next(tmp_path):
    cache_pictures(default_world(), "val", tmp_path, limit=4)
    (part,) = tmp_path.glob("pictures-*/*.arrow")
    part.rename(part.with_name(".000000.0a1b2c3d.arrow"))
    cache_pictures(default_world(), "val", tmp_path, limit=4)
    assert [path.name for path in part.parent.iterdir() if path.name.startswith(".")] == []


def test_processes_make_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "PART_BYTES", 8 << 20)  # processes do not see the patch above
    for name, workers in (("a", 0), ("b", 2)):
        cache_pictures(default_world(256), "val", tmp_path / name, limit=50, workers=workers)
    files = sorted((tmp_path / "a").glob("pictures-*/*.arrow"))
    assert len(files) == 2
    assert all(file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes() for file in files)


def test_by_expression(tmp_path):
    data = load_dataset(f"phantom:cached={tmp_path},train=1%")
    assert data.name == "phantom:train=1%"
    assert data.pair("train", 0).image.size == (64, 64)
    assert len([*tmp_path.glob("pictures-*/*.arrow")]) == 1


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    for kind in ("flock", "lockf"):
        monkeypatch.setattr(f"fcntl.{kind}", no_locks)
    with pytest.warns(UserWarning, match=r"pictures-.*no file locks here"):
        cache_pictures(default_world(), "val", tmp_path, limit=1)
    assert len([*tmp_path.glob("pictures-*/*.arrow")]) == 1


def test_pictures_of_several_sizes_are_refused(tmp_path):
    class Sizes(WORLDS[DEFAULT]):
        def pair(self, split, index):
            pair = super().pair(split, index)
            return pair if index != 2 else type(pair)(**{**vars(pair), "image": Image.new("RGB", (9, 5))})

    with pytest.raises(UserError, match="'phantom-val-00002' is 9 x 5 pixels, others are 64 x 64"):
        CachedPictures(Sizes(), tmp_path).pair("val", 0)
    assert not [*tmp_path.glob("pictures-*/*.arrow")]


def test_a_damaged_part_is_named(tmp_path):
    cached = cache_pictures(default_world(), "val", tmp_path, limit=1)
    (part,) = tmp_path.glob("pictures-*/*.arrow")
    part.write_bytes(b"")
    with pytest.raises(UserError, match=r"000000\.arrow' are damaged"):
        cached.pair("val", 0)
