"""Precision, recall, density and coverage of generated among real features, by balls of nearest neighbours.

A real sample's ball B(x_i) reaches to its k-th nearest real neighbour, a generated one's B(y_j) to its k-th generated one.

    precision = mean_j 1[y_j in some B(x_i)]       recall   = mean_i 1[x_i in some B(y_j)]      (Kynkaanniemi et al. 2019)
    density   = mean_j #{i : y_j in B(x_i)} / k    coverage = mean_i 1[some y_j in B(x_i)]      (Naeem et al. 2020)

A ball holds its surface, to within rounding: where k + 1 samples are equal its radius is zero, and an equal sample lies in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.metrics.image.frechet import as_samples

NEIGHBOURS = 5
_CHUNK = 1 << 25  # elements of one block of distances
_ROUNDING = 1e-11  # of the squared norms: by how much equal distances may seem to differ


@dataclass(frozen=True)
class Coverage:
    """The four shares; density alone may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def coverage_of_features(reference: np.ndarray, generated: np.ndarray, neighbours: int = NEIGHBOURS) -> Coverage:
    """Of features (M, D) and (N, D), of more than `neighbours` samples each."""
    real, fake = (as_samples(features, neighbours + 1) for features in (reference, generated))
    centre = real.mean(axis=0)
    real, fake = real - centre, fake - centre
    real_radii, fake_radii = _radii(real, neighbours), _radii(fake, neighbours)
    inside = np.zeros(len(fake))  # how many real balls hold each generated sample
    recalled, covered = np.zeros(len(real), dtype=bool), np.zeros(len(real), dtype=bool)
    for start, distances, slack in _blocks(real, fake):
        rows = slice(start, start + len(distances))
        distances -= slack
        in_real = distances <= real_radii[rows, None]
        inside += in_real.sum(axis=0)
        covered[rows] = in_real.any(axis=1)
        recalled[rows] = (distances <= fake_radii).any(axis=1)
    precision, density = float((inside > 0).mean()), float(inside.mean() / neighbours)
    return Coverage(precision, float(recalled.mean()), density, float(covered.mean()))


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Squared distance of each sample to its k-th nearest other one, (N,)."""
    radii = np.empty(len(features))
    for start, distances, _ in _blocks(features, features):
        rows = np.arange(len(distances))
        distances[rows, start + rows] = -np.inf  # itself, before whatever is equal to it
        radii[start : start + len(distances)] = np.partition(distances, neighbours, axis=1)[:, neighbours]
    return radii


def _blocks(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Index of a first row, squared distances of the rows from there to all of `second`, and what of each may be rounding."""
    norms = (first**2).sum(axis=1), (second**2).sum(axis=1)
    size = max(1, _CHUNK // len(second))
    for start in range(0, len(first), size):
        sums = norms[0][start : start + size, None] + norms[1]
        yield start, sums - 2 * (first[start : start + size] @ second.T), _ROUNDING * sums
