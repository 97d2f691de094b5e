"""Comparing systems on the same cases, from their sums by patient.

Of systems a and b, with f the metric and s_a, s_b in R^(P x K) their sums by patient (`tasks.metrics.statistics.additive`):

    difference      d = f(sum s_a) - f(sum s_b)
    its interval    over patients, the same draws for both systems, and over trainings (`tasks.metrics.statistics.estimate`)
    its p-value     (1 + #{b : |d_b| >= |d|}) / (1 + B), where in d_b each patient's rows are swapped between the systems with
                    probability 1/2, which changes nothing if the systems are exchangeable (Fisher 1935; Noreen 1989)

A system of several entries is their mean. Where both sides have two trainings or more, the difference is one of methods, and
interval and p include the spread between trainings; otherwise it is one of these checkpoints.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

import numpy as np

from medim.common.files import hash_of
from tasks.metrics.statistics.additive import BOUNDS, Additive
from tasks.metrics.statistics.bootstrap import RESAMPLES, Interval
from tasks.metrics.statistics.estimate import Estimate, Resampled, Trainings, of_mean, resampled

PERMUTATIONS = 9999
COMPARISON_RESAMPLES = 9999  # more than of an interval: p-values have to be small enough for Holm over many pairs
ALPHA = 0.05
RANDOMISATION = "paired randomisation by patient"
BOOTSTRAP = "bootstrap over patients"
TRAININGS = "bootstrap over patients with Student's t over trainings"
INDEPENDENT = "bootstrap of independent samples"
_CHUNK = 1 << 24  # elements of one block of swaps

Verdict = Literal["better", "worse", "non-inferior", "not separable"]
Scope = Literal["checkpoints", "methods"]


@dataclass(frozen=True)
class System:
    """One side of a comparison."""

    entries: Sequence[Additive]  # one per run, each with the same patients in the same rows
    # the training of each entry, such as a hash of its weights; by default all differ
    trainings: Sequence[str] = field(default=())

    def by_training(self) -> list[list[float]]:
        """The metric of each entry of each training."""
        by_training: dict[str, list[float]] = {}
        names = self.trainings or [str(index) for index in range(len(self.entries))]
        for name, entry in zip(names, self.entries, strict=True):
            by_training.setdefault(name, []).append(entry.value())
        return list(by_training.values())

    def spread(self) -> tuple[Trainings, ...]:
        """What trainings add to the uncertainty of the mean over entries."""
        found = self.by_training()
        return of_mean([float(np.mean(values)) for values in found], [len(values) for values in found])

    def few(self) -> Interval | None:
        """An interval without bounds where an entry has too few patients, else None."""
        return next((few for entry in self.entries if (few := entry.few()) is not None), None)


@dataclass(frozen=True)
class Difference:
    """The first system's value less the second's, in the metric's unit."""

    value: float
    interval: Interval  # 95 %
    p: float  # two-sided, of no difference, by `test`
    test: str
    patients: int  # P
    scope: Scope = "checkpoints"  # `methods` where both sides have two trainings or more, else `checkpoints`
    estimate: Estimate | None = field(default=None, compare=False, repr=False)

    def smallest_found(self, level: float) -> float | None:
        """See `Estimate.smallest_found`."""
        return None if self.estimate is None else self.estimate.smallest_found(level)


def value_of(entries: Sequence[Additive]) -> float:
    """The mean over entries of the metric."""
    return float(np.mean([additive.value() for additive in entries]))


def interval_of(system: System, seed: int) -> Interval:
    """95 % interval of `value_of`: over patients and, of several trainings, over these."""
    if (few := system.few()) is not None:
        return few
    found = resampled(_checked({"": system})[""], seed, RESAMPLES)
    interval = Estimate(found.value, found.ends(), system.spread()).interval()
    bounds = BOUNDS.get(system.entries[0].combine)
    if bounds is None or interval.low is None or interval.high is None:
        return interval
    return Interval(max(bounds[0], interval.low), min(bounds[1], interval.high))


def compare_all(
    systems: Mapping[str, System],
    seed: int,
    resamples: int = COMPARISON_RESAMPLES,
    permutations: int = PERMUTATIONS,
    matched: bool = False,
) -> dict[tuple[str, str], Difference]:
    """All pairs of systems by one metric, each pair once, in the order of `systems`.
    `systems`: by name; row i is of the same patient in all of them, unless they are not `paired`.
    `seed`: of resampling and randomisation; a pair's result does not depend on the other systems.
    `matched`: entries are trainings of the same seeds in the same order: their differences by seed are what varies.
    Raises ValueError: systems of different patients or metrics, or fewer patients than an interval needs."""
    checked = _checked(systems)
    if not checked:
        return {}
    first = next(iter(checked.values()))[0]
    for name, system in systems.items():
        if (few := system.few()) is not None:
            raise ValueError(f"'{name}': {few.reason}")
    replicates = {name: _replicates(name, entries, seed, resamples) for name, entries in checked.items()}
    single = {name: entries[0] for name, entries in checked.items() if len(entries) == 1}
    swapped: dict[str, np.ndarray] = {}
    if first.paired and len(single) > 1:
        moved = _swapped([additive.sums for additive in single.values()], seed, permutations)
        swapped = dict(zip(single, moved, strict=True))
    result = {}
    for one, other in combinations(checked, 2):
        found = replicates[one].less(replicates[other], first.paired)
        estimate = Estimate(found.value, found.ends(), _trainings(systems[one], systems[other], matched))
        if one in swapped and other in swapped and single[one].parameters == single[other].parameters:
            p, test = _randomised(single[one], single[other], swapped[one], swapped[other]), RANDOMISATION
        else:
            p, test = estimate.p(), TRAININGS if estimate.trainings else BOOTSTRAP if first.paired else INDEPENDENT
        count = min(len(checked[name][0].sums) for name in (one, other))
        scope: Scope = "methods" if estimate.trainings else "checkpoints"
        result[one, other] = Difference(found.value, estimate.interval(), p, test, count, scope, estimate)
    return result


def _trainings(one: System, other: System, matched: bool) -> tuple[Trainings, ...]:
    """What the trainings of both sides add to the spread; nothing where either has fewer than two."""
    if matched:
        return of_mean([a.value() - b.value() for a, b in zip(one.entries, other.entries, strict=True)])
    spread, against = one.spread(), other.spread()
    return (*spread, *against) if spread and against else ()


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for their family (Holm 1979), in their order: p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))."""
    order = sorted(range(len(p)), key=lambda index: p[index])
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted


def verdict(difference: Difference, p: float, higher_is_better: bool, margin: float | None = None) -> Verdict:
    """The verdict on the first system against the second. `p`: adjusted for the family (`holm`). `margin`: > 0, in the metric's
    unit, stated beforehand. The first is non-inferior where the whole 95 % interval lies on its better side (one-sided at 2.5
    %). A significant difference is named first."""
    if margin is not None and not margin > 0:
        raise ValueError(f"a margin of non-inferiority is positive, not {margin}")
    if p < ALPHA and difference.value != 0:
        return "better" if (difference.value > 0) == higher_is_better else "worse"
    worst = difference.interval.low if higher_is_better else difference.interval.high
    if margin is not None and worst is not None and (worst if higher_is_better else -worst) > -margin:
        return "non-inferior"
    return "not separable"


def reverse(difference: Difference) -> Difference:
    """The second system's value less the first's."""
    low, high = difference.interval.low, difference.interval.high
    interval = difference.interval if low is None or high is None else Interval(-high, -low)
    return replace(difference, value=-difference.value, interval=interval)


def _checked(systems: Mapping[str, System]) -> dict[str, list[Additive]]:
    """By patient; a ValueError unless patients and metric are the same everywhere."""
    found = {name: [additive.by_patient() for additive in system.entries] for name, system in systems.items()}
    every = [(name, additive) for name, system in found.items() for additive in system]
    if empty := [name for name, system in found.items() if not system]:
        raise ValueError(f"'{empty[0]}' has no values")
    for name, additive in every:
        first_name, first = every[0]
        for what in ("combine", "paired"):
            if getattr(additive, what) != getattr(first, what):
                raise ValueError(f"'{name}' and '{first_name}' differ in {what}")
        if additive.sums.shape[1] != first.sums.shape[1] or (first.paired and len(additive.sums) != len(first.sums)):
            raise ValueError(f"'{name}' has sums of shape {additive.sums.shape}, '{first_name}' of {first.sums.shape}")
    names = {additive.patients for system in systems.values() for additive in system.entries}
    if every and every[0][1].paired and len(names) > 1:
        raise ValueError("the systems were not measured on the same patients")
    return found


def _replicates(name: str, entries: Sequence[Additive], seed: int, resamples: int) -> Resampled:
    """Paired systems all draw the same patients, those that intervals draw."""
    return resampled(entries, seed if entries[0].paired else (seed, int(hash_of(name), 16)), resamples)


def _swaps(count: int, seed: int, permutations: int) -> Iterator[np.ndarray]:
    """Which patients swap sides: blocks (B', count) of 0 and 1, `permutations` rows in all."""
    generator = np.random.default_rng([seed, 1])
    block = max(1, _CHUNK // count)
    for start in range(0, permutations, block):
        size = (min(block, permutations - start), count)
        yield generator.integers(0, 2, size=size, dtype=np.int8).astype(np.float64)


def _swapped(sums: Sequence[np.ndarray], seed: int, permutations: int) -> list[np.ndarray]:
    """Of each system, the sums over the patients that swap sides: (B, K)."""
    columns = np.concatenate(sums, axis=1)
    moved = np.concatenate([swaps @ columns for swaps in _swaps(len(columns), seed, permutations)])
    return np.split(moved, len(sums), axis=1)


def _randomised(one: Additive, other: Additive, moved: np.ndarray, moved_other: np.ndarray) -> float:
    total, total_other = one.sums.sum(axis=0), other.sums.sum(axis=0)
    values = one.evaluate(total - moved + moved_other), other.evaluate(total_other - moved_other + moved)
    observed = abs(one.value() - other.value())
    slack = 1e-10 * max(abs(one.value()), abs(other.value()), observed)  # sums in another order are not equal to the last bit
    differences = np.abs(values[0] - values[1])
    differences = differences[np.isfinite(differences)]
    return float((1 + (differences >= observed - slack).sum()) / (1 + len(differences)))
