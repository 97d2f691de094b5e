from dataclasses import replace

import pytest
from PIL import Image

from medim.errors import UserError
from tasks.cases import cases_of


def test_cases_are_pairs_in_the_declared_geometry(world):
    cases = cases_of(world, "test", 32, 5)
    assert [case.id for case in cases] == [case.id for case in world.cases[:5]]
    assert {case.image.size for case in cases} == {(32, 32)}
    assert cases[1].findings == world.cases[1].findings
    assert cases[1].domain == "east"
    assert len(cases_of(world, "test", 16)) == 80


def test_a_study_is_scored_once(world, monkeypatch):
    pair = world.pair
    monkeypatch.setattr(world, "pair", lambda split, index: replace(pair(split, index), study=f"study-{index // 4}"))
    cases = cases_of(world, "test", 16, 3)
    assert [case.id for case in cases] == ["test-000", "test-004", "test-008"]


def test_images_are_read_from_paths(world, monkeypatch, tmp_path):
    Image.new("L", (20, 10), 255).save(tmp_path / "wide.png")
    pair = replace(world.pair("test", 0), image=tmp_path / "wide.png")
    monkeypatch.setattr(world, "pair", lambda split, index: pair)
    (case,) = cases_of(world, "test", 20, 1)
    assert case.image.mode == "RGB"
    assert case.image.getpixel((10, 10)) == (255, 255, 255)
    assert case.image.getpixel((10, 2)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("split", "limit", "message"),
    [("tset", None, "unknown split 'tset'"), ("val", None, "no pairs in split 'val'"), ("test", 0, "limit must be at least 1")],
)
def test_mistakes_are_named(world, split, limit, message):
    with pytest.raises(UserError, match=message):
        cases_of(world, split, 16, limit)


def test_a_pair_without_report_is_no_reference(world, monkeypatch):
    pair = replace(world.pair("test", 0), report=None)
    monkeypatch.setattr(world, "pair", lambda split, index: pair)
    with pytest.raises(UserError, match="'test-000' of data set 'world' has no report"):
        cases_of(world, "test", 16)
