"""Arm against arm: patients and seeds are crossed, and both are drawn for all arms alike.

Of arms a and b, seeds s and patients p, with f the metric and x the sums of a patient (`tasks.metrics.additive`):

    value       A = mean_s f(sum_p x[a, s, p])
    resample    A* = sum_s v_s f(sum_p w_p x[a, s, p])    w ~ Multinomial(P; 1/P), S v ~ Multinomial(S; 1/S)

w and v are the same for every arm (the pigeonhole bootstrap, Owen 2007): arms share patients, and a seed's initial weights. Of
few seeds v draws too little of their spread, and of one seed none; the number of seeds stands beside every interval. All is
given one set of generated pairs: what another draw of these would change is not in the intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.metrics.additive import Additive
from tasks.metrics.statistics import RESAMPLES, Interval, percentile_interval, resampling_weights, too_few

CROSSED = f"percentile bootstrap over patients crossed with seeds, both shared by the arms, {RESAMPLES} resamples"
ALPHA = 0.05
NOT_RESOLVED = "not resolved"
_DIGITS = 9  # BLEU without a common n-gram is some 1e-15: what differs by less than 1e-9 is equal

System = Sequence[Additive]  # one entry a seed


@dataclass(frozen=True)
class Effect:
    """A value with its 95 % interval, or the reason why there is none.

    Attributes:
        p: two-sided, of no effect; None for a value that is no difference.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str | None = None

    def told(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests (Schuirmann 1987) of |difference| < margin.

    Attributes:
        low, high: 90 % interval of the difference.
        p: the larger of the two.
        equivalent: p < 0.05; None where there are too few patients.
    """

    difference: float
    margin: float
    low: float | None
    high: float | None
    p: float | None
    equivalent: bool | None
    reason: str | None = None

    def told(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Exchange:
    """How many real pairs one generated pair is worth.

    Attributes:
        rate: x / n, where x further real pairs reach what n generated ones reach, read off the real learning curve; None where
            that is not resolved, and `reason` says why.
    """

    rate: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    def told(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


class Crossed:
    """One metric of several arms on the same patients and seeds, and its resamples.

    Raises:
        ValueError: no arms, or arms of different patients or numbers of seeds.
    """

    def __init__(self, systems: Mapping[str, System], seed: int = 0, resamples: int = RESAMPLES) -> None:
        by_patient = {name: [one.by_patient() for one in system] for name, system in systems.items()}
        shapes = {(len(system), len(one.sums)) for system in by_patient.values() for one in system}
        if len(shapes) != 1 or not all(by_patient.values()):
            raise ValueError(f"arms of different seeds or patients: {sorted(shapes)}")
        self.seeds, self.patients = next(iter(shapes))
        few = too_few(next(iter(systems.values()))[0].patients)
        self.reason = None if few is None else few.reason
        means = {name: float(np.mean([one.value() for one in system])) for name, system in by_patient.items()}
        self.values = {name: round(mean, _DIGITS) for name, mean in means.items()}
        drawn = {} if few is not None else _resampled(by_patient, seed, resamples)
        self._drawn = {name: np.round(values, _DIGITS) for name, values in drawn.items()}

    def value(self, arm: str) -> Effect:
        """The mean over seeds."""
        return self._effect(self.values[arm], self._drawn.get(arm), null=None)

    def difference(self, arm: str, against: str) -> Effect:
        """The first's value less the second's."""
        drawn = self._drawn[arm] - self._drawn[against] if self._drawn else None
        return self._effect(self.values[arm] - self.values[against], drawn, null=0.0)

    def relative(self, arm: str, against: str) -> Effect:
        """The first's gain over the second, in per cent of the second: the paper's form."""
        base = self.values[against]
        if not base > 0:
            return Effect(float("nan"), reason=f"no relative gain: {against} has {base:g}")
        drawn = None
        if self._drawn:
            below = self._drawn[against]
            ratio = np.divide(self._drawn[arm], below, out=np.full(len(below), np.nan), where=below > 0)
            drawn = 100 * (ratio - 1)
        return self._effect(100 * (self.values[arm] / base - 1), drawn, null=0.0)

    def equivalence(self, arm: str, against: str, margin: float) -> Equivalence:
        """Whether the two differ by less than `margin`, which was stated before."""
        value = self.values[arm] - self.values[against]
        if not self._drawn:
            return Equivalence(value, margin, None, None, None, None, self.reason)
        drawn = _finite(self._drawn[arm] - self._drawn[against])
        low, high = (float(end) for end in np.quantile(drawn, [ALPHA, 1 - ALPHA]))
        p = float(max((1 + side.sum()) / (1 + len(drawn)) for side in (drawn <= -margin, drawn >= margin)))
        return Equivalence(value, margin, low, high, p, p < ALPHA)

    def exchange(self, arm: str, added: int, curve: Mapping[str, int]) -> Exchange:
        """How many real pairs each of the `added` pairs of an arm is worth.

        Args:
            curve: arms of the real learning curve with the number of further real pairs, 0 among them.
        """
        order = sorted(curve, key=lambda name: curve[name])
        first, last = order[0], order[-1]
        if len(order) < 2:
            return Exchange(None, reason=f"{NOT_RESOLVED}: the learning curve has no further real pairs")
        if not self._drawn:
            return Exchange(None, reason=f"{NOT_RESOLVED}: {self.reason}")
        rise = self.difference(last, first)
        if rise.low is None or rise.low <= 0:
            return Exchange(
                None, reason=f"{NOT_RESOLVED}: {curve[last]} further real pairs gain nothing that can be told from 0"
            )
        sizes = np.array([curve[name] for name in order], dtype=np.float64)
        rate = _worth(np.array([[self.values[name]] for name in order]), np.array([self.values[arm]]), sizes)[0] / added
        drawn = _worth(np.stack([self._drawn[name] for name in order]), self._drawn[arm], sizes) / added
        low, high = (float(end) for end in np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2], method="nearest"))
        most = curve[last] / added
        if not np.isfinite(rate):
            return Exchange(None, reason=f"{NOT_RESOLVED}: worth more than the {most:g} that the learning curve reaches")
        if not np.isfinite(high):
            return Exchange(None, reason=f"{NOT_RESOLVED}: {rate:.2g}, and the interval leaves the learning curve at {most:g}")
        return Exchange(float(rate), low, high)

    def _effect(self, value: float, drawn: np.ndarray | None, null: float | None) -> Effect:
        if drawn is None:
            return Effect(value, reason=self.reason)
        interval: Interval = percentile_interval(drawn)
        if interval.low is None:
            return Effect(value, reason=interval.reason)
        kept = _finite(drawn)
        p = None
        if null is not None:
            p = float(min(1.0, 2 * min((1 + side.sum()) / (1 + len(kept)) for side in (kept <= null, kept >= null))))
        return Effect(value, interval.low, interval.high, p)


def _worth(curve: np.ndarray, target: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Where a learning curve reaches a target: values (K, R) at K growing sizes, targets (R,) -> sizes (R,).

    The curve is made to rise (running maximum) and read linearly between its points: 0 at or below its start, infinity beyond
    its end.
    """
    rising = np.maximum.accumulate(curve, axis=0)
    found = np.full(target.shape, np.inf)
    for place in reversed(range(len(sizes) - 1)):
        low, high = rising[place], rising[place + 1]
        gap = high - low
        share = np.divide(target - low, gap, out=np.zeros_like(target), where=gap > 0)
        found = np.where(target <= high, sizes[place] + np.clip(share, 0, 1) * (sizes[place + 1] - sizes[place]), found)
    return np.where(target <= rising[0], 0.0, found)


def _resampled(systems: Mapping[str, System], seed: int, resamples: int) -> dict[str, np.ndarray]:
    """The value of each arm on each resample, (R,)."""
    first = next(iter(systems.values()))
    seeds, patients = len(first), len(first[0].sums)
    drawn = np.random.default_rng([seed, 2]).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds  # (R, S)
    columns = np.concatenate([one.sums for system in systems.values() for one in system], axis=1)
    sums = np.concatenate([weights @ columns for weights in resampling_weights(patients, seed, resamples)])
    result, start = {}, 0
    for name, system in systems.items():
        values = []
        for one in system:
            width = one.sums.shape[1]
            values.append(one.evaluate(sums[:, start : start + width]))
            start += width
        result[name] = (drawn * np.stack(values, axis=1)).sum(axis=1)
    return result


def _finite(drawn: np.ndarray) -> np.ndarray:
    return drawn[np.isfinite(drawn)]
