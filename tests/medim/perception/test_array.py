import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.perception.array import ArrayFeatures, image_key, read_features, write_features


def image(value: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (value, 0, 0))


def test_one_pixel_makes_another_key():
    first, second = image(7), image(7)
    assert image_key(first) == image_key(second)
    second.putpixel((3, 3), (7, 0, 1))
    assert image_key(first) != image_key(second)
    assert image_key(first) != image_key(first.convert("L"))
    assert image_key(Image.new("RGB", (2, 8))) != image_key(Image.new("RGB", (8, 2)))


def test_rows_are_found_by_image(tmp_path):
    path = tmp_path / "uni.npz"
    np.savez(path, ids=[image_key(image(v)) for v in (1, 2, 3)], features=np.arange(6.0).reshape(3, 2))
    space = ArrayFeatures(path)
    assert (space.name, space.title) == ("array:uni.npz", "uni")
    rows = space.rows([image_key(image(v)) for v in (3, 1, 3)])
    assert torch.equal(rows, torch.tensor([[4.0, 5], [0, 1], [4, 5]], dtype=torch.float64))
    with pytest.raises(UserError, match=r"uni\.npz' lacks 1 of 2 images"):
        space.rows([image_key(image(v)) for v in (1, 9)])


def test_what_is_written_is_read(tmp_path):
    features = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    write_features(tmp_path / "deep" / "x.npz", ["a", "b", "c"], features)
    ids, read = read_features(tmp_path / "deep" / "x.npz")
    assert ids == ["a", "b", "c"]
    assert read.dtype == np.float32
    assert np.array_equal(read, features)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.zeros((2, 3))}, "needs the two arrays 'ids' and 'features'"),
        ({"ids": ["a", "b"], "features": np.zeros(2)}, r"has shape \(2,\), not \(2 ids, D\)"),
        ({"ids": ["a"], "features": np.zeros((2, 3))}, r"has shape \(2, 3\), not \(1 ids, D\)"),
        ({"ids": ["a", "a"], "features": np.zeros((2, 3))}, "1 ids occur twice"),
        ({"ids": ["a", "b"], "features": np.array([[1.0], [np.nan]])}, "not finite"),
        ({"ids": ["a", "b"], "features": np.array([["x"], ["y"]])}, "not finite numbers"),
        ({"ids": np.array(["a", None], dtype=object), "features": np.zeros((2, 1))}, "cannot be read"),
    ],
)
def test_bad_arrays_are_named(tmp_path, arrays, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=message) as caught:
        read_features(path)
    assert "bad.npz" in str(caught.value)


def test_what_is_no_npz_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.npz' does not exist"):
        read_features(tmp_path / "none.npz")
    np.save(tmp_path / "plain.npy", np.zeros((2, 2)))
    (tmp_path / "text.npz").write_text("ids,features")
    for name in ("plain.npy", "text.npz"):
        with pytest.raises(UserError, match=rf"{name}' cannot be read as \.npz"):
            read_features(tmp_path / name)
