"""Intervals that respect that patients, not images, are independent.

A statistic that is a function of sums over samples (a mean, a corpus BLEU, a macro F1) is resampled from its
sufficient statistics: one row of sums per patient, drawn with replacement as whole patients.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 2000
MINIMUM_PATIENTS = 15
CONFIDENCE = 0.95
_CHUNK = 1 << 24  # elements of one block of weights
_KEPT = 1 << 26  # elements of weights that are kept for the next metric: 128 MiB
_Z = 1.959963984540054  # of the normal distribution, two-sided 95 %


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, or the reason why there is none."""

    low: float | None = None
    high: float | None = None
    reason: str | None = None


def resampling_weights(count: int, seed: int | tuple[int, ...], resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each of `count` patients is drawn: blocks (R', count) float64 of `resamples` rows in all, each row adding up
    to `count`. Equal arguments give equal weights: that is what pairs two systems.
    """
    if resamples * count <= _KEPT and count < 1 << 16:
        block = max(1, _CHUNK // count)
        kept = _kept(count, seed, resamples)
        yield from (kept[start : start + block].astype(np.float64) for start in range(0, resamples, block))
    else:
        yield from (drawn.astype(np.float64) for drawn in _drawn(count, seed, resamples))


def _drawn(count: int, seed: int | tuple[int, ...], resamples: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    block = max(1, _CHUNK // count)
    for start in range(0, resamples, block):
        yield generator.multinomial(count, np.full(count, 1 / count), size=min(block, resamples - start))


@lru_cache(maxsize=2)
def _kept(count: int, seed: int | tuple[int, ...], resamples: int) -> np.ndarray:
    """All weights, drawn once for all metrics of a table: drawing takes longer than all that is done with them."""
    return np.concatenate([drawn.astype(np.uint16) for drawn in _drawn(count, seed, resamples)])


def percentile_interval(values: np.ndarray) -> Interval:
    """The central 95 % of resampled values (R,); those that are not finite are left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(reason="no interval: undefined on every resample")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def wilson_interval(per_patient: np.ndarray) -> Interval:
    """Wilson's score interval of a proportion whose samples cluster in patients (Wilson 1927; Korn and Graubard 1998).

        n' = n / deff, at most n;  centre = (p + z^2 / 2n') / (1 + z^2 / n')
        half width = z / (1 + z^2 / n') sqrt(p (1 - p) / n' + z^2 / 4n'^2)

    deff is the variance of the proportion between patients over its binomial one. At 0 and 1 nothing can be said of it, so that
    n' is the number of patients: as if the samples of each were one. A bootstrap would give a width of zero there.

    Args:
        per_patient: (P, 2) hits and samples of each patient; one without samples says nothing.
    """
    per_patient = per_patient[per_patient[:, 1] > 0]
    hits, samples = per_patient.sum(axis=0)
    share, count = hits / samples, len(per_patient)
    if 0 < share < 1:
        residuals = per_patient[:, 0] - share * per_patient[:, 1]
        variance = count / (count - 1) * (residuals**2).sum() / samples**2  # of a ratio, linearised
        binomial = share * (1 - share) / samples
        effective = samples / max(1.0, variance / binomial)
    else:
        effective = float(count)
    scale = 1 + _Z**2 / effective
    centre = (share + _Z**2 / (2 * effective)) / scale
    half = _Z / scale * np.sqrt(share * (1 - share) / effective + _Z**2 / (4 * effective**2))
    return Interval(float(max(0.0, centre - half)) if share > 0 else 0.0, float(min(1.0, centre + half)) if share < 1 else 1.0)


def too_few(patients: Sequence[str]) -> Interval | None:
    """An interval without bounds below `MINIMUM_PATIENTS` patients, else None."""
    count = len(set(patients))
    if count >= MINIMUM_PATIENTS:
        return None
    return Interval(reason=f"no interval: {count} patients, fewer than {MINIMUM_PATIENTS}")


def by_patient(sums: np.ndarray, patients: Sequence[str]) -> np.ndarray:
    """Rows (N, K) added up by patient: float64 (P, K), patients in order of first appearance."""
    order = {patient: index for index, patient in enumerate(dict.fromkeys(patients))}
    totals = np.zeros((len(order), sums.shape[1]))
    np.add.at(totals, [order[patient] for patient in patients], sums)
    return totals


def derangement(count: int, generator: np.random.Generator) -> np.ndarray:
    """A random cyclic permutation of 0..count-1, which has no fixed point (Sattolo 1986); count >= 2."""
    if count < 2:
        raise ValueError(f"no permutation of {count} items is without fixed points")
    order = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = generator.integers(last)
        order[last], order[other] = order[other], order[last]
    return order
