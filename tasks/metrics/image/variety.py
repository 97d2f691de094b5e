"""How varied generated images are: duplicates, the structural similarity of random pairs, and the Vendi score."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from medim.imaging.images import to_tensor
from medim.perception.array import image_key

PAIRS = 200
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # fine to coarse
_WINDOW, _SIGMA = 11, 1.5  # pixels
_BATCH = 32


def duplicate_share(images: Sequence[Image.Image]) -> float:
    """Share of images that equal an earlier one in every pixel, in [0, 1)."""
    return 1 - len({image_key(image) for image in images}) / len(images)


def vendi_score(features: np.ndarray) -> float:
    """The effective number of different images among N, in [1, N] (Friedman and Dieng 2023), of features (N, D).

        exp(-sum_k l_k ln l_k),  l the eigenvalues of K / N,  K_ij = cos(x_i, x_j)

    Those of K / N = X X^T / N that are not 0 are those of X^T X / N, of which the smaller is taken. ValueError for features of
    which one is all zeros: it has no direction.
    """
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("an image's features are all zeros: it has no direction")
    rows = features / lengths
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    values = np.linalg.eigvalsh(gram / len(rows))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def ms_ssim_scales(side: int) -> int:
    """How many of the five scales of MS-SSIM images of `side` pixels have: the coarsest must hold a window of 11 pixels."""
    return sum(side // 2**scale >= _WINDOW for scale in range(len(_WEIGHTS)))


def random_pairs(count: int, pairs: int, generator: np.random.Generator) -> np.ndarray:
    """`pairs` distinct pairs of different indices below `count` (all, where there are fewer): (P, 2), each ascending."""
    total = count * (count - 1) // 2
    chosen = np.sort(generator.choice(total, size=min(pairs, total), replace=False))
    # pair number p counts (0, 1), (0, 2), (1, 2), (0, 3), ...: those with the larger index j begin at j (j - 1) / 2
    larger = ((1 + np.sqrt(1 + 8 * chosen.astype(np.float64))) / 2).astype(np.int64)
    return np.stack([chosen - larger * (larger - 1) // 2, larger], axis=1)


def ms_ssim_of_pairs(images: Sequence[Image.Image], seed: int, pairs: int = PAIRS) -> float:
    """Mean MS-SSIM of random pairs of images, in [0, 1]: the higher, the less varied.
    Images too small for the five scales take the finest ones, with weights scaled to the same sum. A ValueError for fewer than
    two images, or two scales (of 22 pixels)."""
    scales = ms_ssim_scales(min(images[0].size)) if images else 0
    if len(images) < 2 or scales < 2:
        raise ValueError(f"two images of more than 21 pixels are needed, not {len(images)}")
    kept = np.array(_WEIGHTS[:scales])
    weights = (kept * sum(_WEIGHTS) / kept.sum()).tolist()
    chosen = random_pairs(len(images), pairs, np.random.default_rng(seed))
    values = []
    for start in range(0, len(chosen), _BATCH):
        first, second = (to_tensor([images[i] for i in column]).add(1).div(2) for column in chosen[start : start + _BATCH].T)
        values.append(ms_ssim(first, second, weights))
    return float(torch.cat(values).double().mean())


def ms_ssim(first: torch.Tensor, second: torch.Tensor, weights: Sequence[float] = _WEIGHTS) -> torch.Tensor:
    """Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003) of images (B, C, H, W) in [0, 1]: (B,).

        MS-SSIM = L_S^w_S prod_{s < S} CS_s^w_s, CS = (2 sxy + c2) / (sx + sy + c2),  L = CS (2 mx my + c1) / (mx^2 + my^2 + c1)

    with Gaussian windows of 11 pixels that lie in the image, each mean over windows and channels, and halved images from scale
    to scale. A negative mean counts as zero.
    """
    c1, c2 = 0.01**2, 0.03**2
    result = torch.ones(len(first), dtype=first.dtype, device=first.device)
    for scale, weight in enumerate(weights):
        if scale:
            first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
        moments = torch.stack([first, second, first * first, second * second, first * second])
        mx, my, mxx, myy, mxy = _windows(moments)
        similarity = (2 * (mxy - mx * my) + c2) / (mxx - mx * mx + myy - my * my + c2)
        if scale == len(weights) - 1:
            similarity = similarity * (2 * mx * my + c1) / (mx * mx + my * my + c1)
        result = result * similarity.mean((1, 2, 3)).clamp_min(0) ** weight
    return result


def _windows(images: torch.Tensor) -> torch.Tensor:
    """Gaussian means of all windows of 11 x 11 pixels: (..., H, W) -> (..., H - 10, W - 10).
    By products with banded matrices, which on a CPU are many times as fast as a convolution of one channel."""
    rows, columns = (_band(side, images) for side in images.shape[-2:])
    return rows @ images @ columns.T


def _band(side: int, like: torch.Tensor) -> torch.Tensor:
    """Each row holds the window one pixel further: (side - 10, side)."""
    offset = torch.arange(side, dtype=torch.float64) - torch.arange(side - _WINDOW + 1, dtype=torch.float64)[:, None]
    inside = (offset >= 0) & (offset < _WINDOW)
    window = torch.where(inside, torch.exp(-((offset - _WINDOW // 2) ** 2) / (2 * _SIGMA**2)), 0.0)
    return (window / window.sum(dim=1, keepdim=True)).to(like.device, like.dtype)
