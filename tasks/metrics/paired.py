"""Comparing systems on the same cases, from their sums by patient alone.

Of systems a and b, with f the metric and s_a, s_b in R^(P x K) their sums by patient (`tasks.metrics.additive`):

    difference      d = f(sum s_a) - f(sum s_b)
    its interval    percentiles of d under w ~ Multinomial(P; 1/P) weights of the patients, the same for both systems
    its p-value     (1 + #{b : |d_b| >= |d|}) / (1 + B), where in d_b each patient's rows are swapped between the systems with
                    probability 1/2, which changes nothing if the systems are exchangeable (Fisher 1935; Noreen 1989)

With several seeds a system is the mean over its seeds of f, and both patients and seeds are drawn with replacement, crossed
(the pigeonhole bootstrap: Owen 2007); p is then that of the bootstrap, 2 min(P(d* <= 0), P(d* >= 0)). Of very few seeds this
draws too little of the spread between seeds: the number of seeds stands beside every such value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from medim.files import hash_of
from tasks.metrics.additive import Additive
from tasks.metrics.statistics import RESAMPLES, Interval, percentile_interval, resampling_weights, too_few

PERMUTATIONS = 9999
COMPARISON_RESAMPLES = 9999  # more than of an interval: p-values have to be small enough for Holm over many pairs
ALPHA = 0.05
RANDOMISATION = "paired randomisation by patient"
BOOTSTRAP = "bootstrap over patients"
CROSSED = "bootstrap over patients crossed with seeds"
INDEPENDENT = "bootstrap of independent samples"
_CHUNK = 1 << 24  # elements of one block of swaps

Verdict = Literal["better", "worse", "non-inferior", "not separable"]
System = Sequence[Additive]  # one entry a seed, each with the same patients in the same rows


@dataclass(frozen=True)
class Difference:
    """Of two systems, the first's value less the second's.

    Attributes:
        value: in the metric's unit.
        interval: 95 %.
        p: two-sided, of no difference.
        test: how p was made.
        patients: P.
    """

    value: float
    interval: Interval
    p: float
    test: str
    patients: int


def value_of(system: System) -> float:
    """The mean over seeds of the metric."""
    return float(np.mean([additive.value() for additive in system]))


def interval_of(system: System, seed: int, resamples: int = RESAMPLES) -> Interval:
    """95 % interval of `value_of`: patients drawn with replacement and, of several seeds, seeds too."""
    few = too_few(system[0].patients)
    return few if few is not None else percentile_interval(_replicates("", _checked({"": system})[""], seed, resamples))


def compare_all(
    systems: Mapping[str, System],
    seed: int,
    resamples: int = COMPARISON_RESAMPLES,
    permutations: int = PERMUTATIONS,
    matched: bool = False,
) -> dict[tuple[str, str], Difference]:
    """All pairs of some systems' values of one metric, each pair once, in the order of `systems`.

    Args:
        systems: by name; rows of one number are of one patient in all of them (or of none, where they are not `paired`).
        seed: of resampling and randomisation; equal seeds give equal results, whatever other systems stand beside a pair.
        matched: the systems' seeds are one list, in one order, and are drawn together (trainings that share data and noise).

    Raises:
        ValueError: systems of different patients or metrics, or fewer patients than an interval needs.
    """
    checked = _checked(systems)
    if not checked:
        return {}
    first = next(iter(checked.values()))[0]
    if (few := too_few(first.patients)) is not None:
        raise ValueError(few.reason)
    replicates = {name: _replicates(name, system, seed, resamples, matched) for name, system in checked.items()}
    single = {name: system[0] for name, system in checked.items() if len(system) == 1}
    swapped: dict[str, np.ndarray] = {}
    if first.paired and len(single) > 1:
        moved = _swapped([additive.sums for additive in single.values()], seed, permutations)
        swapped = dict(zip(single, moved, strict=True))
    result = {}
    for one, other in combinations(checked, 2):
        value = value_of(checked[one]) - value_of(checked[other])
        drawn = replicates[one] - replicates[other]
        if one in swapped and other in swapped and single[one].parameters == single[other].parameters:
            p, test = _randomised(single[one], single[other], swapped[one], swapped[other]), RANDOMISATION
        else:
            several = len(checked[one]) > 1 or len(checked[other]) > 1
            p, test = _of_bootstrap(drawn), CROSSED if several else BOOTSTRAP if first.paired else INDEPENDENT
        count = min(len(checked[name][0].sums) for name in (one, other))
        result[one, other] = Difference(value, percentile_interval(drawn), p, test, count)
    return result


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted so that the chance of any false claim in the family stays below the level (Holm 1979), in their order.

    p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))
    """
    order = sorted(range(len(p)), key=lambda index: p[index])
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted


def verdict(difference: Difference, p: float, higher_is_better: bool, margin: float | None = None) -> Verdict:
    """What may be said of the first system against the second.

    Args:
        p: adjusted for the family (`holm`).
        margin: > 0, in the metric's unit, stated beforehand: how much worse would not matter. The first is non-inferior where
            the whole 95 % interval lies on the better side of it (one-sided at 2.5 %). A significant difference is named first.

    Raises:
        ValueError: a margin that is not positive.
    """
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
    return Difference(-difference.value, interval, difference.p, difference.test, difference.patients)


def _checked(systems: Mapping[str, System]) -> dict[str, list[Additive]]:
    """By patient; the same patients and metric everywhere."""
    found = {name: [additive.by_patient() for additive in system] for name, system in systems.items()}
    every = [(name, additive) for name, system in found.items() for additive in system]
    for name, system in found.items():
        if not system:
            raise ValueError(f"'{name}' has no values")
    for name, additive in every:
        first_name, first = every[0]
        for what in ("combine", "paired"):
            if getattr(additive, what) != getattr(first, what):
                raise ValueError(f"'{name}' and '{first_name}' differ in {what}")
        if additive.sums.shape[1] != first.sums.shape[1] or (first.paired and len(additive.sums) != len(first.sums)):
            raise ValueError(f"'{name}' has sums of shape {additive.sums.shape}, '{first_name}' of {first.sums.shape}")
    names = {additive.patients for system in systems.values() for additive in system}
    if every and every[0][1].paired and len(names) > 1:
        raise ValueError("the systems were not measured on the same patients")
    return found


def _replicates(name: str, system: Sequence[Additive], seed: int, resamples: int, matched: bool = False) -> np.ndarray:
    """The system's value on each resample, (R,). Of paired systems all draw the same patients, those that intervals draw; of
    matched ones the same seeds too.
    """
    own = int(hash_of(name), 16)  # what is drawn for this system alone
    columns = np.concatenate([additive.sums for additive in system], axis=1)  # (P, S K): one product for all seeds
    key = seed if system[0].paired else (seed, own)
    sums = np.concatenate([weights @ columns for weights in resampling_weights(len(columns), key, resamples)])
    parts = np.split(sums, len(system), axis=1)
    values = np.stack([additive.evaluate(part) for additive, part in zip(system, parts, strict=True)], axis=1)  # (R, S)
    count = len(system)
    if count == 1:
        return values[:, 0]
    generator = np.random.default_rng([seed, 0 if matched else own, count])
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return (drawn / count * values).sum(axis=1)


def _swaps(count: int, seed: int, permutations: int) -> Iterator[np.ndarray]:
    """Which patients change sides: blocks (B', count) of 0 and 1, `permutations` rows in all."""
    generator = np.random.default_rng([seed, 1])
    block = max(1, _CHUNK // count)
    for start in range(0, permutations, block):
        size = (min(block, permutations - start), count)
        yield generator.integers(0, 2, size=size, dtype=np.int8).astype(np.float64)


def _swapped(sums: Sequence[np.ndarray], seed: int, permutations: int) -> list[np.ndarray]:
    """Of each system, the sums over the patients that change sides: (B, K). One product for all of them."""
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


def _of_bootstrap(drawn: np.ndarray) -> float:
    drawn = drawn[np.isfinite(drawn)]
    tails = [(1 + side.sum()) / (1 + len(drawn)) for side in (drawn <= 0, drawn >= 0)]
    return float(min(1.0, 2 * min(tails)))
