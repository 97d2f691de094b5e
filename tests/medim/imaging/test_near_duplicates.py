"""Near copies are found exactly as a comparison of all pairs would; copies and look-alikes are told apart."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from medim.data.phantom.worlds import default_world
from medim.imaging.near_duplicates import (
    COARSE_MOST,
    DETAIL_LEAST,
    FINE_MOST,
    detail,
    detail_correlation,
    near_pairs,
    perceptual_hash,
)

pytest.importorskip("imagehash", reason="needs the extra 'archives'")


def flipped(hashes: np.ndarray, rng: np.random.Generator, most_coarse: int, most_fine: int) -> np.ndarray:
    """Copies with some bits changed."""
    copies = hashes.copy()
    for copy in copies:
        for bit in rng.choice(64, rng.integers(0, most_coarse + 1), replace=False):
            copy[0] ^= np.uint64(1) << np.uint64(bit)
        for bit in rng.choice(256, rng.integers(0, most_fine + 1), replace=False):
            copy[1 + bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return copies


@pytest.mark.parametrize(("coarse", "fine"), [(0, 256), (3, 10), (COARSE_MOST, FINE_MOST), (12, 200)])
def test_pairs_are_those_of_all_comparisons_each_once(coarse, fine):
    rng = np.random.default_rng(0)
    some = rng.integers(0, 2**64, (300, 5), dtype=np.uint64)
    hashes = np.concatenate([some, flipped(some[:200], rng, 9, 60), some[:3]])
    coarse_bits = np.bitwise_count(hashes[:, None, 0] ^ hashes[None, :, 0])
    fine_bits = np.bitwise_count(hashes[:, None, 1:] ^ hashes[None, :, 1:]).sum(axis=2)
    wanted = set(zip(*np.nonzero(np.triu((coarse_bits <= coarse) & (fine_bits <= fine), 1)), strict=True))
    found = []
    for block in near_pairs(hashes, coarse, fine):
        assert (block.first < block.second).all()
        assert (block.coarse == coarse_bits[block.first, block.second]).all()
        assert (block.fine == fine_bits[block.first, block.second]).all()
        found += list(zip(block.first, block.second, strict=True))
    assert len(found) == len(set(found))
    assert set(found) == wanted
    assert len(wanted) > 2


def test_many_equal_hashes_come_in_blocks(monkeypatch):
    monkeypatch.setattr("medim.imaging.near_duplicates._BLOCK", 100)
    hashes = np.zeros((60, 5), dtype=np.uint64)
    blocks = list(near_pairs(hashes))
    assert len(blocks) > 10
    assert sum(len(block.first) for block in blocks) == 60 * 59 // 2


def test_nothing_and_one_have_no_pairs():
    assert list(near_pairs(np.zeros((0, 5), dtype=np.uint64))) == []
    assert list(near_pairs(np.zeros((1, 5), dtype=np.uint64))) == []


def test_a_copy_among_fifty_thousand():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, (50_000, 5), dtype=np.uint64)
    hashes[777] = flipped(hashes[40_000:40_001], rng, COARSE_MOST, FINE_MOST)[0]
    (block,) = near_pairs(hashes)
    assert (block.first.tolist(), block.second.tolist()) == ([777], [40_000])


def variants(image: Image.Image) -> dict[str, Image.Image]:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return {
        "jpeg": Image.open(buffer),
        "half": image.resize((image.width // 2, image.height // 2)),
        "contrast": ImageEnhance.Contrast(image).enhance(0.7),
        "blurred": image.filter(ImageFilter.GaussianBlur(1)),
    }


def is_near(first: Image.Image, second: Image.Image) -> bool:
    pairs = list(near_pairs(np.stack([perceptual_hash(first), perceptual_hash(second)])))
    return bool(pairs) and detail_correlation(detail(first), detail(second)) >= DETAIL_LEAST


@pytest.mark.parametrize("index", [0, 1])  # a chest picture, a tissue patch
def test_copies_are_near_and_other_cases_are_not(index):
    dataset = default_world(256)
    image = dataset.pair("train", index).image
    for name, variant in variants(image).items():
        assert is_near(image, variant), name
    assert not is_near(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert not any(is_near(image, dataset.pair("train", other).image) for other in range(index + 2, index + 10, 2))


def test_detail_does_not_see_brightness_and_contrast():
    image = default_world(64).pair("train", 0).image.convert("L")
    dimmer = image.point([round(60 + 0.5 * level) for level in range(256)])
    assert detail_correlation(detail(image), detail(dimmer)) > 0.99
    assert detail_correlation(detail(image), detail(Image.new("L", (64, 64), 9))) == 0
