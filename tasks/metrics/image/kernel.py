"""Kernel distance: the unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018, KID).

    k(x, y) = (x.y / d + 1)^3
    MMD^2   = sum_{i != j} k(x_i, x_j) / (m (m - 1)) + sum_{i != j} k(y_i, y_j) / (n (n - 1)) - 2 sum_{i, j} k(x_i, y_j) / (m n)

All samples enter at once, not subsets. The estimate may be negative; it is unbiased for independent sides. Where y_i answers
x_i its mean is lower by 2 (E k(x_i, y_i) - E k(x_i, y_j)) / n.
"""

from collections.abc import Sequence

import numpy as np

from tasks.metrics.image.frechet import as_samples
from tasks.metrics.statistics.bootstrap import Interval, too_few

HALVES = 500
CMMD_SIGMA, CMMD_SCALE = 10, 1000
METHOD = f"normal, delete-half jackknife over patients, both sides' together, {HALVES} halves"
_NORMAL_975 = 1.959963984540054


def polynomial_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """k(x, y) of every pair of rows: (M, D), (N, D) -> (M, N)."""
    return (first @ second.T / first.shape[1] + 1.0) ** 3


def kernel_distance(reference: np.ndarray, generated: np.ndarray) -> float:
    """Unbiased MMD^2 of features (M, D) and (N, D), of two samples or more each."""
    weights = np.ones((1, len(reference))), np.ones((1, len(generated)))
    return float(_weighted(*_kernels(reference, generated), *weights)[0])


def kernel_interval(
    reference: np.ndarray,
    generated: np.ndarray,
    reference_patients: Sequence[str],
    generated_patients: Sequence[str],
    seed: int,
    halves: int = HALVES,
) -> Interval:
    """95 % normal interval from a delete-half jackknife over patients (Shao and Wu 1989).

    Each replicate keeps a random half of the patients of each side: no sample meets a copy of itself, which would inflate a
    bootstrapped distance. A patient on both sides is kept on both or on neither, so that what the sides share is no noise. The
    variance is about the replicates' mean. For two equal distributions it is conservative: there it falls faster than 1/n.
    """
    few = too_few(reference_patients) or too_few(generated_patients)
    if few is not None:
        return few
    kernels = _kernels(reference, generated)
    full = _weighted(*kernels, np.ones((1, len(reference))), np.ones((1, len(generated))))[0]
    generator = np.random.default_rng(seed)
    kept = _halves([reference_patients, generated_patients], halves, generator)
    spread = float(np.std(_weighted(*kernels, *kept)))
    return Interval(float(full - _NORMAL_975 * spread), float(full + _NORMAL_975 * spread))


def cmmd(reference: np.ndarray, generated: np.ndarray) -> float:
    """CMMD (Jayasumana et al. 2024, arXiv:2401.09603): 1000 times the biased MMD^2 of unit vectors with a Gaussian kernel.

        k(x, y) = exp(-|x - y|^2 / (2 sigma^2)), sigma = 10, all pairs, also of a sample with itself

    of image embeddings (M, D) and (N, D), which are normalised here; a ValueError for an embedding of zero.
    """
    sides = []
    for features in (reference, generated):
        norms = np.linalg.norm(np.asarray(features, dtype=np.float64), axis=1, keepdims=True)
        if not len(features) or not (norms > 0).all():
            raise ValueError(f"embeddings (N, D) other than zero are needed, here are {features.shape}")
        sides.append(features / norms)

    def mean_kernel(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.exp((first @ second.T - 1) / CMMD_SIGMA**2).mean())  # |x - y|^2 = 2 - 2 x.y

    x, y = sides
    return CMMD_SCALE * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))


def _kernels(reference: np.ndarray, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels within the reference and within the generated set, without their diagonals, and between the two."""
    reference, generated = as_samples(reference), as_samples(generated)
    within = [polynomial_kernel(features, features) for features in (reference, generated)]
    for kernel in within:
        np.fill_diagonal(kernel, 0.0)
    return within[0], within[1], polynomial_kernel(reference, generated)


def _weighted(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray, keep_x: np.ndarray, keep_y: np.ndarray) -> np.ndarray:
    """MMD^2 of each subset: 0/1 rows (R, M) and (R, N) -> (R,)."""
    m, n = keep_x.sum(axis=1), keep_y.sum(axis=1)
    within_x = ((keep_x @ xx) * keep_x).sum(axis=1) / (m * (m - 1))
    within_y = ((keep_y @ yy) * keep_y).sum(axis=1) / (n * (n - 1))
    return within_x + within_y - 2 * ((keep_x @ xy) * keep_y).sum(axis=1) / (m * n)


def _halves(sides: Sequence[Sequence[str]], count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """0/1 rows (count, N) for each side, each keeping the samples of a random half of the patients, the same on all sides.
    Those who first occur on a later side are halved by themselves."""
    kept: dict[str, np.ndarray] = {}
    for patients in sides:
        new = [patient for patient in dict.fromkeys(patients) if patient not in kept]
        ranks = generator.random((count, len(new))).argsort(axis=1).argsort(axis=1)
        kept |= zip(new, (ranks < (len(new) + 1) // 2).T, strict=True)
    return [np.stack([kept[patient] for patient in patients], axis=1).astype(np.float64) for patients in sides]
