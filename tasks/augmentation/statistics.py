"""Arm against arm, on the same patients and by the same seeds, by the one rule of `tasks.metrics.statistics.estimate`.

With seeds s, patients p, f the metric and x the sums of a patient (`tasks.metrics.statistics.additive`), the value of arm a is
mean_s f(sum_p x[a, s, p]). Arms share patients, and a seed's initial weights: differences are taken by seed. What is no
mean over seeds (a ratio, an exchange rate) is compared by its jackknife pseudo-values over seeds, S theta - (S - 1) theta_(-s),
which of a mean are the values themselves (Tukey 1958). All is given one set of generated pairs: what another draw of these
would change is not in the intervals.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import CONFIDENCE, RESAMPLES
from tasks.metrics.statistics.estimate import Estimate, Resampled, Trainings, of_mean, resampled
from tasks.metrics.statistics.paired import TRAININGS

METHOD = f"{TRAININGS}, both shared by the arms, {RESAMPLES} resamples"
ALPHA = 0.05
NOT_RESOLVED = "not resolved"
_DIGITS = 9  # BLEU without a common n-gram is some 1e-15: what differs by less than 1e-9 is equal

Entries = Sequence[Additive]  # one a seed


@dataclass(frozen=True)
class Effect:
    """A value with its 95 % interval, or the reason why there is none."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None  # two-sided, of no effect; None for a value that is no difference
    reason: str | None = None
    # the value with its spread; None where there is no interval
    estimate: Estimate | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests (Schuirmann 1987) of |difference| < margin."""

    difference: float
    margin: float
    # low, high: 90 % interval of the difference
    low: float | None = None
    high: float | None = None
    p: float | None = None  # the larger of the two
    equivalent: bool | None = None  # p < 0.05; None where there are too few patients
    reason: str | None = None


@dataclass(frozen=True)
class Exchange:
    """How many real pairs one generated pair is worth. `rate`: x / n, where x further real pairs reach what n generated ones
    reach, read off the real learning curve; None where that is not resolved (`reason`)."""

    rate: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class Crossed:
    """One metric of several arms on the same patients and seeds, and its resamples.
    Raises ValueError: no arms, or arms of different patients or numbers of seeds."""

    def __init__(self, systems: Mapping[str, Entries], seed: int = 0, resamples: int = RESAMPLES) -> None:
        by_patient = {name: [one.by_patient() for one in system] for name, system in systems.items()}
        shapes = {(len(system), len(one.sums)) for system in by_patient.values() for one in system}
        if len(shapes) != 1 or not all(by_patient.values()):
            raise ValueError(f"arms of different seeds or patients: {sorted(shapes)}")
        self.seeds, self.patients = next(iter(shapes))
        few = next((few for system in systems.values() for one in system if (few := one.few()) is not None), None)
        self.reason = None if few is None else few.reason
        self.by_seed = {name: np.array([one.value() for one in system]) for name, system in by_patient.items()}
        self.values = {name: round(float(values.mean()), _DIGITS) for name, values in self.by_seed.items()}
        drawn = {} if few is not None else {name: resampled(one, seed, resamples) for name, one in by_patient.items()}
        self._drawn = {
            name: replace(one, value=self.values[name], drawn=np.round(one.drawn, _DIGITS)) for name, one in drawn.items()
        }

    def value(self, arm: str) -> Effect:
        """The mean over seeds."""
        return self._effect(self.values[arm], self._drawn.get(arm), self._trainings(lambda means: means[arm]))

    def difference(self, arm: str, against: str) -> Effect:
        """The first's value less the second's."""
        drawn = self._drawn[arm].less(self._drawn[against]) if self._drawn else None
        return self._effect(self.values[arm] - self.values[against], drawn, self._by_seed(arm, against), null=0.0)

    def relative(self, arm: str, against: str) -> Effect:
        """The first's gain over the second, in per cent of the second: the paper's form."""
        base = self.values[against]
        if not base > 0:
            return Effect(float("nan"), reason=f"no relative gain: {against} has {base:g}")
        drawn = self._drawn[arm].over(self._drawn[against]).scaled(100, -100) if self._drawn else None
        trainings = self._trainings(lambda means: 100 * (means[arm] / means[against] - 1) if means[against] > 0 else np.nan)
        return self._effect(100 * (self.values[arm] / base - 1), drawn, trainings, null=0.0)

    def equivalence(self, arm: str, against: str, margin: float) -> Equivalence:
        """Whether the two differ by less than `margin`, which was stated before."""
        value = self.values[arm] - self.values[against]
        if not self._drawn:
            return Equivalence(value, margin, reason=self.reason)
        drawn = self._drawn[arm].less(self._drawn[against])
        estimate = Estimate(value, drawn.ends(), self._by_seed(arm, against))
        interval = estimate.interval(1 - 2 * ALPHA)
        if interval.low is None:
            return Equivalence(value, margin, reason=interval.reason)
        p = max(estimate.p_beyond(-margin, above=True), estimate.p_beyond(margin, above=False))
        return Equivalence(value, margin, interval.low, interval.high, p, p < ALPHA)

    def exchange(self, arm: str, added: int, curve: Mapping[str, int]) -> Exchange:
        """How many real pairs each of the `added` pairs of an arm is worth.
        `curve`: arms of the real learning curve with the number of further real pairs, 0 among them."""
        order = sorted(curve, key=lambda name: curve[name])
        first, last = order[0], order[-1]
        if len(order) < 2:
            return Exchange(None, reason=f"{NOT_RESOLVED}: the learning curve has no further real pairs")
        if not self._drawn:
            return Exchange(None, reason=f"{NOT_RESOLVED}: {self.reason}")
        rise = self.difference(last, first)
        if rise.low is None or rise.low <= 0:
            gain = f"{curve[last]} further real pairs gain nothing that can be told from 0"
            return Exchange(None, reason=f"{NOT_RESOLVED}: {gain}")
        sizes = np.array([curve[name] for name in order], dtype=np.float64)

        def worth(means: Mapping[str, float]) -> float:
            return float(_worth(np.array([[means[name]] for name in order]), np.array([means[arm]]), sizes)[0]) / added

        rate = worth(self.values)
        drawn = np.sort(_worth(np.stack([self._drawn[name].drawn for name in order]), self._drawn[arm].drawn, sizes) / added)
        most = curve[last] / added
        if not np.isfinite(rate):
            return Exchange(None, reason=f"{NOT_RESOLVED}: worth more than the {most:g} that the learning curve reaches")
        high = float(np.quantile(drawn, (1 + CONFIDENCE) / 2, method="nearest"))
        trainings = self._trainings(worth)
        if not np.isfinite([high, *(part.variance for part in trainings)]).all():
            return Exchange(None, reason=f"{NOT_RESOLVED}: {rate:.2g}, and the interval leaves the learning curve at {most:g}")
        interval = Estimate(rate, drawn[np.isfinite(drawn)], trainings).interval()
        return Exchange(rate, max(0.0, interval.low or 0.0), interval.high)

    def _by_seed(self, arm: str, against: str) -> tuple[Trainings, ...]:
        return of_mean(np.round(self.by_seed[arm] - self.by_seed[against], _DIGITS).tolist())

    def _trainings(self, statistic: Callable[[Mapping[str, float]], float]) -> tuple[Trainings, ...]:
        """What seeds add to the spread of a function of the arms' means, by pseudo-values."""
        if self.seeds < 2:
            return ()
        whole = statistic({name: float(values.mean()) for name, values in self.by_seed.items()})
        left = [
            statistic({name: float(np.delete(values, seed).mean()) for name, values in self.by_seed.items()})
            for seed in range(self.seeds)
        ]
        with np.errstate(invalid="ignore"):
            return of_mean((self.seeds * whole - (self.seeds - 1) * np.array(left)).tolist())

    def _effect(
        self, value: float, drawn: Resampled | None, trainings: tuple[Trainings, ...], null: float | None = None
    ) -> Effect:
        if drawn is None:
            return Effect(value, reason=self.reason)
        estimate = Estimate(value, drawn.ends(), trainings)
        interval = estimate.interval()
        if interval.low is None:
            return Effect(value, reason=interval.reason)
        return Effect(value, interval.low, interval.high, None if null is None else estimate.p(null), estimate=estimate)


def _worth(curve: np.ndarray, target: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Where a learning curve reaches a target: values (K, R) at K growing sizes, targets (R,) -> sizes (R,). The curve is taken
    as rising (running maximum), read linearly between its points: 0 at or below its start, infinity beyond its end."""
    rising = np.maximum.accumulate(curve, axis=0)
    found = np.full(target.shape, np.inf)
    for place in reversed(range(len(sizes) - 1)):
        low, high = rising[place], rising[place + 1]
        gap = high - low
        share = np.divide(target - low, gap, out=np.zeros_like(target), where=gap > 0)
        found = np.where(target <= high, sizes[place] + np.clip(share, 0, 1) * (sizes[place + 1] - sizes[place]), found)
    return np.where(target <= rising[0], 0.0, found)
