"""FD-infinity: the Fréchet distance that unlimited samples would have (Chong and Forsyth 2020, arXiv:1911.07023).

The bias of the distance is, to first order, proportional to 1 / N. Subsets of both sides are measured at several N, and a line
through the values is read at 1 / N = 0. Unlike in the paper the reference set shrinks along, as its size biases the value too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.metrics.image.frechet import Moments, fast_frechet_distance, frechet_distance
from tasks.metrics.statistics.bootstrap import JACKKNIFE

SIZES = 15
SMALLEST = 0.2  # of the samples, where that leaves as many as there are dimensions
ESTIMATOR = f"line in 1/N through {SIZES} sizes, whole patients, both sides"

INTERVAL = f"{JACKKNIFE}, for the distance at this n, and the standard error of the line"


@dataclass(frozen=True)
class Extrapolation:
    """The intercept of the line, and its standard error by least squares (of the fit alone: all subsets are of one sample)."""

    value: float
    error: float


def too_few_samples(n: int, dimension: int) -> str | None:
    """Why there is no extrapolation from `n` samples a side, or None: below D samples the bias is not linear in 1 / N."""
    if n >= 2 * dimension:
        return None
    return f"needs 2 d = {2 * dimension:,} images a side (d = {dimension:,} features), here are {n:,}"


def frechet_infinity(
    reference: np.ndarray,
    generated: np.ndarray,
    reference_patients: Sequence[str],
    generated_patients: Sequence[str],
    seed: int,
) -> Extrapolation:
    """The distance of features (M, D) and (N, D), extrapolated; it may be negative. A ValueError by `too_few_samples`."""
    n = min(len(reference), len(generated))
    if (problem := too_few_samples(n, reference.shape[1])) is not None:
        raise ValueError(f"FD-infinity {problem}")
    smallest = max(SMALLEST, reference.shape[1] / n)
    generator = np.random.default_rng(seed)
    sides = [(reference, reference_patients), (generated, generated_patients)]
    x, y = [], []
    for inverse in np.linspace(1, 1 / smallest, SIZES):
        subsets = _subsets(sides, 1 / inverse, generator)
        x.append(np.mean([1 / len(subset) for subset in subsets]))
        whole = all(len(subset) == len(features) for subset, (features, _) in zip(subsets, sides, strict=True))
        y.append(frechet_distance(*map(Moments.of_features, subsets)) if whole else fast_frechet_distance(*subsets))
    return _line_at_zero(np.array(x), np.array(y))


def _subsets(
    sides: Sequence[tuple[np.ndarray, Sequence[str]]], share: float, generator: np.random.Generator
) -> list[np.ndarray]:
    """At least `share` of the samples of each side, by whole patients, the same patients where both sides have them."""
    everyone = list(dict.fromkeys(patient for _, patients in sides for patient in patients))
    rank = dict(zip(everyone, generator.permutation(len(everyone)), strict=True))
    subsets = []
    for features, patients in sides:
        ranks = np.array([rank[patient] for patient in patients])
        last = np.sort(ranks)[int(np.ceil(share * len(ranks) - 1e-9)) - 1]
        subsets.append(features[ranks <= last])
    return subsets


def _line_at_zero(x: np.ndarray, y: np.ndarray) -> Extrapolation:
    """Least squares of y = a + b x, at x = 0."""
    centred = x - x.mean()
    slope = centred @ y / (centred @ centred)
    intercept = y.mean() - slope * x.mean()
    residuals = y - intercept - slope * x
    variance = residuals @ residuals / (len(x) - 2)
    return Extrapolation(float(intercept), float(np.sqrt(variance * (1 / len(x) + x.mean() ** 2 / (centred @ centred)))))
