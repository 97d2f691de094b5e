"""The uncertainty of a value over patients and over trainings together: the one rule behind every verdict.

theta is a function of sums over patients (`additive`), theta*_b its value on resample b, w ~ Multinomial(P; 1/P).

Over patients, from `MANY` on: quantiles of theta*_b. Below, where these are too close together (at 15 patients they
cover 0.90), the studentised bootstrap (Efron 1981; Davison and Hinkley 1997, section 5.2):

    t_b = (theta*_b - theta) / se*_b        interval [theta - t_(1 - a/2) se, theta - t_(a/2) se]
    se^2 = sum_p w_p (l_p - l)^2            l_p = s_p . grad f(sum_p w_p s_p), l their mean: the infinitesimal jackknife;
                                            on a resample at least a tenth of that of the data

Of values between known bounds an interval over few patients is Wilson's (`bootstrap.wilson`) on the scale x from 0 to 1, with t
for z and the effective number n' of the S patients (Korn and Graubard 1998); at a bound, of those with a share in the value:

    n' = x (1 - x) / (se^2 S / (S - 1))

Over trainings: V_i, the variance of a mean over S_i trainings, with S_i - 1 degrees of freedom. Both together:

    half width^2 = (half width over patients)^2 + sum_i t_{S_i - 1}^2 V_i

which covers at least its level where all parts are normal and independent (Banerjee 1960; `selftest --statistics`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from tasks.metrics.statistics.bootstrap import CONFIDENCE, Interval, resampling_weights, wilson

MANY = 200  # patients: from here on quantiles of resampled values cover as they should
POWER = 0.8
_STEP = 1e-6  # of a central difference, relative
_LEAST_ERROR = 0.1  # of a resample, relative to that of the data
_ROUNDING = 1e-12  # relative: a spread below it is none
_NOTHING = 1e-20  # variance that is rounding alone
_ROUNDS = 40  # of bisection
_SIMULATED = 4000


class OfSums(Protocol):
    """An `additive.Additive` with one row per patient."""

    @property
    def sums(self) -> np.ndarray: ...

    @property
    def smooth(self) -> bool: ...

    def evaluate(self, sums: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Resampled:
    """A statistic on the data and on R resamples of P patients."""

    # value, drawn: theta, and theta*_b (R,)
    value: float
    drawn: np.ndarray
    # l_p of each resample and, in the last row, of the data: (R + 1, P); None from `MANY` patients on
    parts: np.ndarray | None = None
    weights: np.ndarray | None = None  # of the patients, (R + 1, P), the last row 1; None without `parts`
    # se^2, (R + 1,), of differences between independent samples, which have no `parts`
    squared_errors: np.ndarray | None = None

    @cached_property
    def errors(self) -> np.ndarray | None:
        """se of each resample and, last, of the data: (R + 1,); None from `MANY` patients on."""
        if self.squared_errors is not None:
            return np.sqrt(self.squared_errors)
        if self.parts is None or self.weights is None:
            return None
        patients = self.parts.shape[1]
        means = (self.weights * self.parts).sum(axis=1) / patients
        return np.sqrt(np.maximum((self.weights * self.parts**2).sum(axis=1) - patients * means**2, 0))

    def less(self, other: "Resampled", paired: bool = True) -> "Resampled":
        """This value less another, of the same patients (`paired`) or of independent ones."""
        value, drawn = self.value - other.value, self.drawn - other.drawn
        if self.errors is None and other.errors is None:
            return Resampled(value, drawn)
        if not paired:
            return Resampled(value, drawn, squared_errors=self._squared() + other._squared())
        if self.errors is None or other.errors is None:
            return Resampled(value, drawn)
        assert self.parts is not None
        assert other.parts is not None
        return Resampled(value, drawn, self.parts - other.parts, self.weights)

    def _squared(self) -> np.ndarray:
        """se^2 of each resample and, last, of the data: (R + 1,); from `MANY` patients on one for all."""
        return np.full(len(self.drawn) + 1, np.nanvar(self.drawn)) if self.errors is None else self.errors**2

    def over(self, other: "Resampled") -> "Resampled":
        """This value over another of the same patients; NaN where that is not positive."""
        values, below = (np.append(one.drawn, one.value) for one in (self, other))
        ratio = np.divide(values, below, out=np.full(len(below), np.nan), where=below > 0)
        if self.parts is None or other.parts is None:
            return Resampled(float(ratio[-1]), ratio[:-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = (self.parts - ratio[:, None] * other.parts) / below[:, None]
        return Resampled(float(ratio[-1]), ratio[:-1], parts, self.weights)

    def scaled(self, factor: float, shift: float) -> "Resampled":
        """factor theta + shift."""
        parts = None if self.parts is None else factor * self.parts
        return Resampled(factor * self.value + shift, factor * self.drawn + shift, parts, self.weights)

    def ends(self) -> np.ndarray:
        """Sorted values whose quantiles are the ends of intervals over patients; those that are not finite are left out."""
        found = self.drawn
        if self.errors is not None and self.errors[-1] > 0:
            # Resamples that miss the one patient who differs have no error.
            relative = np.maximum(self.errors[:-1] / self.errors[-1], _LEAST_ERROR)
            found = self.value - (self.drawn - self.value) / relative
        return np.sort(found[np.isfinite(found)])


@dataclass(frozen=True)
class Trainings:
    """What trainings add to the uncertainty of a value: V, and the degrees of freedom with which it is known."""

    variance: float
    degrees: int


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value and its spread: `Resampled.ends`, and `trainings` unless the statement is about these trainings alone."""

    value: float
    ends: np.ndarray
    trainings: tuple[Trainings, ...] = field(default=())

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The central interval; without bounds where the statistic is undefined."""
        if not len(self.ends):
            return Interval(reason="no interval: undefined on every resample")
        if not self._known:
            return Interval(reason="no interval: undefined, or undefined without one of the trainings")
        return Interval(*self._bounds(1 - confidence))

    def p(self, null: float = 0.0) -> float:
        """Two-sided: the smallest level at which the interval leaves out `null`; 1 where there is none."""
        floor = 2 / (1 + len(self.ends))
        if not len(self.ends) or not self._known:
            return 1.0
        if not self.trainings:
            tails = [(1 + side.sum()) / (1 + len(self.ends)) for side in (self.ends <= null, self.ends >= null)]
            return float(min(1.0, 2 * min(tails)))
        outside, inside = 1.0, 0.0
        for _ in range(_ROUNDS):
            level = (outside + inside) / 2
            low, high = self._bounds(level)
            outside, inside = (outside, level) if low <= null <= high else (level, inside)
        return max(outside, floor)

    def p_beyond(self, null: float, above: bool) -> float:
        """One-sided, of the true value not lying above (or below) `null`."""
        half = self.p(null) / 2
        return half if (self.value > null) == above else 1 - half

    def smallest_found(self, level: float) -> float | None:
        """The true difference that 80 % of repetitions find at this two-sided level; None where the spread is 0 or unknown, or
        where no p of so few resamples lies below the level."""
        if not len(self.ends) or not self._known or level <= 2 / (1 + len(self.ends)):
            return None
        low, high = self._bounds(1 - CONFIDENCE, patients_alone=True)
        error = (high - low) / (2 * _normal(0.5 + CONFIDENCE / 2))
        generator = np.random.default_rng(0)
        spread = math.sqrt(error**2 + sum(part.variance for part in self.trainings))
        if spread <= _ROUNDING * abs(self.value):
            return None
        half = np.full(_SIMULATED, (_normal(1 - level / 2) * error) ** 2)
        for part in self.trainings:
            factor = _student(part.degrees, level / 2) ** 2 * part.variance / part.degrees
            half += factor * generator.chisquare(part.degrees, _SIMULATED)
        return float(np.quantile(np.sqrt(half) - spread * generator.normal(size=_SIMULATED), POWER))

    @property
    def _known(self) -> bool:
        return math.isfinite(self.value) and all(math.isfinite(part.variance) for part in self.trainings)

    def _bounds(self, level: float, patients_alone: bool = False) -> tuple[float, float]:
        low, high = (_quantile(self.ends, share) for share in (level / 2, 1 - level / 2))
        if patients_alone or not self.trainings:
            return low, high
        parts = [_student(part.degrees, level / 2) ** 2 * part.variance for part in self.trainings]
        half = math.sqrt(sum(parts))
        below, above = (math.hypot(max(0.0, side), half) for side in (self.value - low, high - self.value))
        return self.value - below, self.value + above


def _student(degrees: float, share: float) -> float:
    """Quantile of Student's t."""
    from scipy.special import stdtrit  # lazy: scoring

    return float(stdtrit(degrees, share))


def _normal(share: float) -> float:
    """Quantile of the normal distribution."""
    from scipy.special import ndtri  # lazy: scoring

    return float(ndtri(share))


def _quantile(ordered: np.ndarray, share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def score_interval(statistic: OfSums, bounds: tuple[float, float]) -> Interval:
    """95 % interval of a statistic that lies between bounds, over its patients, by its standard error."""
    totals = statistic.sums.sum(axis=0, keepdims=True)
    value = float(statistic.evaluate(totals)[0])
    if not math.isfinite(value):
        return Interval(reason="no interval: undefined on every resample")
    parts = (_gradients(statistic, totals) @ statistic.sums.T)[0]
    low, width = bounds[0], bounds[1] - bounds[0]
    sharing = int((statistic.sums != 0).any(axis=1).sum())
    unbiased = sharing / max(1, sharing - 1)
    x, variance = (value - low) / width, unbiased * float(((parts - parts.mean()) ** 2).sum()) / width**2
    inside = 0 < x < 1 and math.isfinite(variance)
    if inside and variance < _NOTHING:
        return Interval(value, value)
    count = x * (1 - x) / variance if inside else max(1, sharing)
    degrees = _degrees(parts - parts.mean(), sharing) if inside else max(1, sharing - 1)
    ends = wilson(x, count, _student(degrees, 0.5 + CONFIDENCE / 2))
    return Interval(low + width * ends[0], low + width * ends[1])


def _degrees(deviations: np.ndarray, sharing: int) -> float:
    """Degrees of freedom of the variance of S patients' parts: 2 S / (kurtosis - 1), S - 1 at most.
    Var(s^2) = sigma^4 (kurtosis - 1) / S for large S, and 2 sigma^4 / v of chi-squared with v degrees."""
    kurtosis = sharing * float((deviations**4).sum()) / float((deviations**2).sum()) ** 2
    return float(np.clip(2 * sharing / max(kurtosis - 1, 1e-9), 1, max(1, sharing - 1)))


def resampled(system: Sequence[OfSums], seed: int | tuple[int, ...], resamples: int) -> Resampled:
    """The mean over entries of one metric, which have the same patients in the same rows; equal seeds draw equal patients."""
    columns = np.concatenate([additive.sums for additive in system], axis=1)  # (P, S K): one product for all entries
    patients = len(columns)
    blocks = resampling_weights(patients, seed, resamples)
    few = patients < MANY and all(additive.smooth for additive in system)
    weights = np.concatenate([*blocks, np.ones((1, patients))]) if few else None
    if weights is not None:
        sums = weights @ columns
    else:
        sums = np.concatenate([*(block @ columns for block in blocks), columns.sum(axis=0, keepdims=True)])
    values, parts = np.zeros(len(sums)), np.zeros((len(sums), patients if few else 0))
    for additive, part in zip(system, np.split(sums, len(system), axis=1), strict=True):
        values = values + additive.evaluate(part) / len(system)
        if weights is not None:
            parts = parts + _gradients(additive, part) @ additive.sums.T / len(system)
    if weights is None:
        return Resampled(float(values[-1]), values[:-1])
    return Resampled(float(values[-1]), values[:-1], np.where(weights > 0, parts, 0.0), weights)


def _gradients(additive: OfSums, sums: np.ndarray) -> np.ndarray:
    """Of the statistic at sums (R, K), by central differences (one-sided where a sum would change its sign): (R, K)."""
    scale = np.abs(additive.sums).mean(axis=0)
    found = np.zeros_like(sums)
    for column in np.flatnonzero(scale):
        middle = sums[:, column]
        step = _STEP * np.maximum(np.abs(middle), scale[column])
        up, down = sums.copy(), sums.copy()
        up[:, column] = middle + step
        down[:, column] = np.where((middle >= 0) & (middle < step), middle, middle - step)
        found[:, column] = (additive.evaluate(up) - additive.evaluate(down)) / (up[:, column] - down[:, column])
    return found


def of_mean(values: Sequence[float], entries: Sequence[int] | None = None) -> tuple[Trainings, ...]:
    """What S trainings with these values add to the uncertainty of their mean, weighted by `entries`; nothing for one."""
    if len(values) < 2:
        return ()
    shares = np.ones(len(values)) if entries is None else np.asarray(entries, dtype=np.float64)
    shares = shares / shares.sum()
    return (Trainings(float(np.var(values, ddof=1) * (shares**2).sum()), len(values) - 1),)
