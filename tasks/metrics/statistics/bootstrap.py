"""Resampling of whole patients, the independent units: bootstrap weights, grouped jackknife, and the intervals from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 2000
MINIMUM_PATIENTS = 15
CONFIDENCE = 0.95
GROUPS = 15  # of the jackknife, as many as an interval needs patients
JACKKNIFE = f"t, jackknife over {GROUPS} groups of patients"
_CHUNK = 1 << 24  # elements of one block of weights
_KEPT = 1 << 26  # elements of weights that are cached for the next metric: 128 MiB
_Z = 1.959963984540054  # of the normal distribution, two-sided 95 %
_T14_975 = 2.1447866879169273


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, or the reason why there is none."""

    low: float | None = None
    high: float | None = None
    reason: str | None = None


def resampling_weights(count: int, seed: int | tuple[int, ...], resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each of `count` patients is drawn: blocks (R', count) float64, `resamples` rows in all.
    Each row sums to `count`. Equal arguments give equal weights, which pairs two systems."""
    if resamples * count <= _KEPT and count < 1 << 16:
        block = max(1, _CHUNK // count)
        cached = _cached(count, seed, resamples)
        yield from (cached[start : start + block].astype(np.float64) for start in range(0, resamples, block))
    else:
        yield from (drawn.astype(np.float64) for drawn in _drawn(count, seed, resamples))


def _drawn(count: int, seed: int | tuple[int, ...], resamples: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    block = max(1, _CHUNK // count)
    for start in range(0, resamples, block):
        yield generator.multinomial(count, np.full(count, 1 / count), size=min(block, resamples - start))


@lru_cache(maxsize=2)
def _cached(count: int, seed: int | tuple[int, ...], resamples: int) -> np.ndarray:
    """All weights, drawn once for all metrics of a table: drawing takes longer than all that is done with them."""
    return np.concatenate([drawn.astype(np.uint16) for drawn in _drawn(count, seed, resamples)])


def percentile_interval(values: np.ndarray) -> Interval:
    """The central 95 % of the finite ones of resampled values (R,)."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(reason="no interval: undefined on every resample")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def wilson(share: float, count: float, quantile: float) -> tuple[float, float]:
    """Ends of Wilson's score interval (1927) of a share of `count` effective samples, with the quantile z or t.
    centre = (p + c^2 / 2n) / (1 + c^2 / n); half width = c / (1 + c^2 / n) sqrt(p (1 - p) / n + c^2 / 4n^2)"""
    scale = 1 + quantile**2 / count
    centre = (share + quantile**2 / (2 * count)) / scale
    half = quantile / scale * np.sqrt(share * (1 - share) / count + quantile**2 / (4 * count**2))
    low, high = float(max(0.0, centre - half)), float(min(1.0, centre + half))
    return low if share > 0 else 0.0, high if share < 1 else 1.0


def wilson_interval(per_patient: np.ndarray) -> Interval:
    """Wilson's interval of a proportion whose samples cluster in patients (Korn and Graubard 1998): n' = n / deff, at most n.
    deff is the variance of the proportion between patients over its binomial one. At 0 and 1 it is not known, and n' is the
    number of patients, as if the samples of each were one; a bootstrap would have a width of zero there.
    `per_patient`: (P, 2) hits and samples of each patient; one without samples is no evidence."""
    per_patient = per_patient[per_patient[:, 1] > 0]
    hits, samples = per_patient.sum(axis=0)
    share, count = hits / samples, len(per_patient)
    if not 0 < share < 1:
        return Interval(*wilson(share, float(count), _Z))
    residuals = per_patient[:, 0] - share * per_patient[:, 1]
    variance = count / (count - 1) * (residuals**2).sum() / samples**2  # of a ratio, linearised
    binomial = share * (1 - share) / samples
    return Interval(*wilson(share, samples / max(1.0, variance / binomial), _Z))


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


def patient_groups(sides: Sequence[Sequence[str]], seed: int) -> list[np.ndarray]:
    """Deals the patients into `GROUPS` random groups, equal in size but for one: a group number per sample of each side.
    A patient has one group on all sides. Those who first occur on a later side are dealt by themselves, so that every side
    loses a like share with each group."""
    generator = np.random.default_rng(seed)
    group: dict[str, int] = {}
    for patients in sides:
        new = [patient for patient in dict.fromkeys(patients) if patient not in group]
        group |= {new[index]: place % GROUPS for place, index in enumerate(generator.permutation(len(new)))}
    return [np.array([group[patient] for patient in patients]) for patients in sides]


def jackknife_error(replicates: np.ndarray) -> float:
    """Standard error of the full value from the values (G,) without one of G groups: v = (G - 1) / G sum (x_g - mean)^2.
    Delete-d jackknife over random disjoint groups (Shao and Wu 1989; Kott 2001). Deviations are from the replicates' own mean:
    a bias that grows as samples go is no spread."""
    groups = len(replicates)
    return float(np.sqrt((groups - 1) / groups * ((replicates - replicates.mean()) ** 2).sum()))


def jackknife_interval(value: float, error: float) -> Interval:
    """95 % around `value`, for a standard error with `GROUPS` - 1 degrees of freedom."""
    return Interval(value - _T14_975 * error, value + _T14_975 * error)


def derangement(count: int, generator: np.random.Generator) -> np.ndarray:
    """A random cyclic permutation of 0..count-1, which has no fixed point (Sattolo 1986); count >= 2."""
    if count < 2:
        raise ValueError(f"no permutation of {count} items is without fixed points")
    order = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = generator.integers(last)
        order[last], order[other] = order[other], order[last]
    return order
