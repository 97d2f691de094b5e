"""How varied the reports and the images of a system are: collapse shows here while other metrics still look well."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from medim.data.images import to_tensor
from medim.perception.array import image_key

PAIRS = 500
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik 2003, fine to coarse
_WINDOW = 11  # pixels
_BATCH = 32


def distinct_share(reports: Sequence[str | None]) -> float:
    """Distinct reports / reports, in (0, 1]; case and spacing do not make a difference, all missing ones are one."""
    return len({" ".join((report or "").split()).lower() for report in reports}) / len(reports)


def mean_length(tokenised: Sequence[str]) -> float:
    """Mean number of tokens of space-separated texts; an empty text has none."""
    return sum(len(text.split()) for text in tokenised) / len(tokenised)


def distinct_n(tokenised: Sequence[str], n: int) -> float:
    """Distinct n-grams / n-grams over all texts (Li et al. 2016, distinct-n); 0 where there are none."""
    grams = Counter(gram for text in tokenised for gram in zip(*(text.split()[shift:] for shift in range(n)), strict=False))
    return len(grams) / grams.total() if grams else 0.0


def duplicate_share(images: Sequence[Image.Image]) -> float:
    """Share of images that equal an earlier one in every pixel, in [0, 1)."""
    return 1 - len({image_key(image) for image in images}) / len(images)


def ms_ssim_scales(side: int) -> int:
    """How many of the five scales of MS-SSIM images of `side` pixels have.

    The coarsest must hold a window of 11 pixels; torchmetrics asks for a little more: side // (scales - 1)^2 of them.
    """
    return sum(side > (_WINDOW - 1) * 2**s and side // max(s, 1) ** 2 >= _WINDOW for s in range(len(_WEIGHTS)))


def random_pairs(count: int, pairs: int, generator: np.random.Generator) -> np.ndarray:
    """`pairs` distinct pairs of different indices below `count` (all, where there are fewer): (P, 2), each ascending."""
    total = count * (count - 1) // 2
    chosen = np.sort(generator.choice(total, size=min(pairs, total), replace=False))
    # pair number p counts (0, 1), (0, 2), (1, 2), (0, 3), ...: those with the larger index j begin at j (j - 1) / 2
    larger = ((1 + np.sqrt(1 + 8 * chosen.astype(np.float64))) / 2).astype(np.int64)
    return np.stack([chosen - larger * (larger - 1) // 2, larger], axis=1)


def ms_ssim_of_pairs(images: Sequence[Image.Image], seed: int, pairs: int = PAIRS) -> float:
    """Mean MS-SSIM of random pairs of images, in [0, 1]: the higher, the less varied.

    Images too small for the five scales take the finest ones that they have, with weights scaled to sum to the same.

    Raises:
        ValueError: fewer than two images, or images of at most 20 pixels (fewer than two scales).
    """
    scales = ms_ssim_scales(min(images[0].size)) if images else 0
    if len(images) < 2 or scales < 2:
        raise ValueError(f"two images of more than 20 pixels are needed, not {len(images)}")
    kept = np.array(_WEIGHTS[:scales])
    weights = tuple((kept * sum(_WEIGHTS) / kept.sum()).tolist())
    chosen = random_pairs(len(images), pairs, np.random.default_rng(seed))
    values = []
    for start in range(0, len(chosen), _BATCH):
        first, second = (to_tensor([images[i] for i in column]).add(1).div(2) for column in chosen[start : start + _BATCH].T)
        values.append(
            multiscale_structural_similarity_index_measure(
                first, second, data_range=1.0, kernel_size=_WINDOW, betas=weights, reduction="none"
            )
        )
    return float(torch.cat(values).double().mean())
