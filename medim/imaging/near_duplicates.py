"""Images that are nearly the same, found by perceptual hash without comparing every pair.

The hash is pHash (the low frequencies of a cosine transform, against their median) as `imagehash` computes it, at two
finenesses. The coarse one, 64 bits, finds candidates; alone it takes similar chest radiographs of different patients for
copies of each other (on 214 real ones, 5 pairs within 6 bits of which 4 were copies). The fine one, 256 bits, discards those,
and `detail_correlation` of the pictures themselves has the last word: drawn phantoms of 64 pixels pass both hashes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from PIL import Image, ImageFilter

from medim.common.errors import UserError

COARSE_MOST = 6  # bits of 64 in which the coarse hashes of copies may differ
FINE_MOST = 32
"""Bits of 256 in which the fine hashes may differ. On real radiographs and H&E patches, copies that were recompressed (JPEG
quality 50), shrunk to 64 pixels, or changed in contrast or gamma lay within 26, images of different patients beyond 66.
Copies cropped by 2 % at each side lie at 40 to 66 and mirrored ones at 128: they are not found."""

DETAIL_LEAST = 0.96
"""Least `detail_correlation` of copies. Measured: 0.97 or more of 19 in 20 copies changed as above; of images of different
patients at most 0.48 (radiographs) and 0.09 (patches); of drawn phantoms of 64 pixels at most 0.957 (12.6 million pairs)."""

WORDS = 5  # of 64 bits: the coarse hash, then the fine one
_BITS = 64
_BLOCK = 1 << 22  # candidates compared at once


def perceptual_hash(image: Image.Image) -> np.ndarray:
    """The two hashes of an image as uint64 (5,): the coarse one, then the four words of the fine one."""
    try:
        from imagehash import phash
    except ImportError:
        raise UserError("near-duplicates need the package imagehash: pip install 'medim-bench[archives]'") from None
    grey = image.convert("L")
    bits = np.concatenate([phash(grey, hash_size=side).hash.ravel() for side in (8, 16)])
    return np.packbits(bits).view(">u8").astype(np.uint64)


def detail(image: Image.Image) -> np.ndarray:
    """What a picture shows beyond its shading: 64 x 64 grey levels less their blur, mean 0, norm 1, float64 (4096,)."""
    small = image.convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    values = np.asarray(small, np.float64) - np.asarray(small.filter(ImageFilter.GaussianBlur(3)), np.float64)
    values -= values.mean()
    return (values / max(np.linalg.norm(values), np.finfo(np.float64).tiny)).ravel()


def detail_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two `detail`s, -1 to 1; copies have `DETAIL_LEAST` or more."""
    return float(first @ second)


@dataclass(frozen=True)
class NearPairs:
    """Pairs of images that are nearly the same. `first`, `second`: indices, int64 (m,); first < second. `coarse`, `fine`:
    differing bits of their hashes, (m,)."""

    first: np.ndarray
    second: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray


def near_pairs(hashes: np.ndarray, coarse_most: int = COARSE_MOST, fine_most: int = FINE_MOST) -> Iterator[NearPairs]:
    """All pairs whose coarse and fine hashes differ in no more than so many bits, each once, in blocks.

    By the pigeonhole principle: of d + k bands of bits, d differing bits leave at least k untouched, so that two near hashes
    agree wholly in some k bands. For every choice of k bands the hashes are sorted by these bands and compared within runs of
    equal ones; k grows with the number of images, so that runs stay short. Exact for every threshold.

    Args:
        hashes: uint64 (n, 5) of `perceptual_hash`.
        coarse_most: from 0 to 56.
    """
    bands = _bands(len(hashes), coarse_most)
    untouched = len(bands) - coarse_most
    for chosen in combinations(range(len(bands)), untouched):
        mask = np.bitwise_or.reduce(bands[list(chosen)])
        for first, second in _equal(hashes[:, 0] & mask):
            difference = hashes[first, 0] ^ hashes[second, 0]
            near = np.bitwise_count(difference) <= coarse_most
            first, second, difference = first[near], second[near], difference[near]
            fine = np.bitwise_count(hashes[first, 1:] ^ hashes[second, 1:]).sum(axis=1, dtype=np.int64)
            near = (fine <= fine_most) & _is_first_choice(difference, bands, chosen)
            if near.any():
                first, second = first[near], second[near]
                yield NearPairs(
                    np.minimum(first, second),
                    np.maximum(first, second),
                    np.bitwise_count(difference[near]).astype(np.int64),
                    fine[near],
                )


def _bands(count: int, coarse_most: int) -> np.ndarray:
    """Masks, uint64 (d + k,), that part the 64 bits."""
    untouched = 1
    while untouched < 4 and _BITS * untouched / (coarse_most + untouched) < np.log2(max(count, 2)):
        untouched += 1
    number = min(coarse_most + untouched, _BITS)
    # Every number-th bit, so that a band has low and high frequencies.
    masks = [sum(1 << bit for bit in range(band, _BITS, number)) for band in range(number)]
    return np.array(masks, dtype=np.uint64)


def _equal(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair of indices with equal keys, in blocks of about `_BLOCK`."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(ordered)])
    after = np.repeat(sizes, sizes) - 1 - (np.arange(len(ordered)) - np.repeat(starts, sizes))  # partners that follow each
    left = np.flatnonzero(after)
    until = np.cumsum(after[left])
    begin = 0
    while begin < len(left):
        done = until[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(until, done + _BLOCK, side="right")))
        some = left[begin:end]
        first = np.repeat(some, after[some])
        step = np.arange(len(first)) - np.repeat(np.cumsum(after[some]) - after[some], after[some])
        yield order[first], order[first + 1 + step]
        begin = end


def _is_first_choice(difference: np.ndarray, bands: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    """Whether `chosen` are the first bands in which two hashes agree: each pair is yielded by one choice only."""
    agreed = np.zeros(len(difference), dtype=np.int64)
    first = np.ones(len(difference), dtype=bool)
    for band, mask in enumerate(bands[: chosen[-1] + 1]):
        agrees = (difference & mask) == 0
        if band not in chosen:
            first &= ~agrees
        agreed += agrees
    return first & (agreed >= len(chosen))
