"""Metrics that are functions of sums over samples: what has to be kept of a run so that anyone can recompute its intervals.

    value    = f(sum_i s_i)                       i over samples, s_i in R^K: sufficient statistics of one sample
    resample = f(sum_p w_p sum_{i in p} s_i)      p over patients, w ~ Multinomial(P; 1/P, ..., 1/P)

Corpus BLEU, a macro F1, a mean and a proportion are all of this form. f is registered under a name, so that a statistic can be
written to a file (sums by patient, the name, its parameters) and read again without the data, and without this process.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np

from medim.common.errors import unknown
from tasks.metrics.statistics.bootstrap import RESAMPLES, Interval, by_patient, too_few, wilson_interval
from tasks.metrics.statistics.estimate import MANY, Estimate, resampled, score_interval

Combine = Callable[..., np.ndarray]
COMBINERS: dict[str, Combine] = {}
BOUNDS: dict[str, tuple[float, float]] = {}
ROUGH: set[str] = set()
HOMES = {
    **dict.fromkeys(("macro-f1", "macro-f1-all", "macro-precision", "macro-recall"), "metrics.findings"),
    **dict.fromkeys(("micro-f1", "label-f1"), "metrics.findings"),
    **dict.fromkeys(("anchored", "agreement", "macro-mcc", "label-mcc"), "metrics.consistency"),
    "meteor-1.5": "metrics.meteor", "corpus-bleu": "metrics.bleu", "smallest-seen": "fine_detail_limits",
    "length-correlation": "long_form_reading",
}  # fmt: skip
"""Modules that register a function, by its name: to read sums, only what they need is imported."""
PROPORTION = "proportion"
COUNTS = frozenset({"mean", PROPORTION, "affine-mean"})
"""Whose second sum is a number of samples: a patient without any is no evidence."""


def combiner(name: str, bounds: tuple[float, float] | None = None, smooth: bool = True) -> Callable[[Combine], Combine]:
    """Registers f(sums (R, K), **parameters) -> (R,), vectorised over R; NaN where it is undefined.

    Args:
        bounds: the least and the greatest value that it can take: no interval goes beyond.
        smooth: whether small changes of the sums change it in proportion. A quantile or a censored size is not so.

    Raises:
        ValueError: another function bears the name.
    """

    def register(function: Combine) -> Combine:
        present = COMBINERS.setdefault(name, function)
        if (present.__module__, present.__qualname__) != (function.__module__, function.__qualname__):
            raise ValueError(f"two combiners are named '{name}': {present.__module__} and {function.__module__}")
        if bounds is not None:
            BOUNDS[name] = bounds
        if not smooth:
            ROUGH.add(name)
        return function

    return register


def combine_of(name: str) -> Combine:
    """The function of this name; its module is imported at the first call, and needs no torch.

    Raises:
        UserError: there is none.
    """
    if name not in COMBINERS and name in HOMES:
        import_module(f"tasks.{HOMES[name]}")
    if name not in COMBINERS:
        raise unknown("statistic", name, [*COMBINERS, *HOMES])
    return COMBINERS[name]


@dataclass(frozen=True, eq=False)
class Additive:
    """A statistic that is a function of sums over samples.

    Attributes:
        sums: (N, K) float64, one row a sample (or already one row a patient): what adds up.
        patients: N names of whom each row belongs to, the independent unit.
        combine: name of a registered function of the sums, such as "mean", "macro-f1", "corpus-bleu".
        parameters: its keyword arguments, JSON-able.
        paired: row i of two systems on the same cases answers the same case. False for samples that answer no case: two
            systems are then compared as independent ones.

    Raises:
        ValueError: rows and patients that differ in number, sums that are not finite, parameters that are not JSON-able.
        UserError: an unknown combiner; the message names the nearest.
    """

    sums: np.ndarray
    patients: tuple[str, ...]
    combine: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    paired: bool = True

    def __post_init__(self) -> None:
        sums = np.asarray(self.sums, dtype=np.float64)
        if sums.ndim != 2 or len(sums) != len(self.patients) or not len(sums):
            raise ValueError(f"sums of shape {sums.shape} for {len(self.patients)} patients' names; (N, K) and N are needed")
        if not np.isfinite(sums).all():
            raise ValueError(f"sums for '{self.combine}' hold NaN or infinity")
        combine_of(self.combine)
        json.dumps(dict(self.parameters), allow_nan=False)
        object.__setattr__(self, "sums", sums)
        object.__setattr__(self, "patients", tuple(self.patients))

    @classmethod
    def mean(cls, values: Sequence[float], patients: Sequence[str], paired: bool = True) -> "Additive":
        """The mean over samples of N values; a patient with more samples weighs more, as it does in the mean."""
        column = np.asarray(values, dtype=np.float64)
        return cls(np.stack([column, np.ones_like(column)], axis=1), tuple(patients), "mean", paired=paired)

    @classmethod
    def proportion(cls, hits: Sequence[bool], patients: Sequence[str], paired: bool = True) -> "Additive":
        """The share of N samples that are true; its interval stays honest near 0 and 1 (Wilson's, over patients)."""
        column = np.asarray(hits, dtype=bool).astype(np.float64)
        return cls(np.stack([column, np.ones_like(column)], axis=1), tuple(patients), PROPORTION, paired=paired)

    @property
    def smooth(self) -> bool:
        """Whether its standard error follows from its slope."""
        return self.combine not in ROUGH

    @property
    def _by_score(self) -> bool:
        return self.combine in BOUNDS and len(set(self.patients)) < MANY

    @property
    def method(self) -> str:
        """How `interval` is made, for signatures."""
        units = "patients" if self.paired else "samples"
        if self._by_score:
            return f"Wilson score with t, effective number of {units} by linearisation"
        if self.combine == PROPORTION:
            return f"Wilson score, effective number of samples over {units}"
        kind = "studentised" if self.smooth and len(set(self.patients)) < MANY else "percentile"
        return f"{kind} bootstrap over {units}, {RESAMPLES} resamples"

    def evaluate(self, sums: np.ndarray) -> np.ndarray:
        """The statistic of sums (R, K) -> (R,); NaN where it is undefined."""
        return np.asarray(combine_of(self.combine)(sums, **self.parameters), dtype=np.float64)

    def value(self) -> float:
        """The statistic of all samples."""
        return float(self.evaluate(self.sums.sum(axis=0, keepdims=True))[0])

    def interval(self, seed: int, resamples: int = RESAMPLES) -> Interval:
        """95 % by resampling whole patients (of a proportion: Wilson's); without bounds where too few have samples."""
        if (few := self.few()) is not None:
            return few
        if self._by_score:
            return score_interval(self.by_patient(), BOUNDS[self.combine])
        if self.combine == PROPORTION:
            return wilson_interval(by_patient(self.sums, self.patients))
        found = resampled([self.by_patient()], seed, resamples)
        return Estimate(found.value, found.ends()).interval()

    def few(self) -> Interval | None:
        """Why nothing is said of the spread: too few patients have a sample; None where enough have."""
        there = self.sums[:, 1] != 0 if self.combine in COUNTS else np.ones(len(self.sums), dtype=bool)
        return too_few([patient for patient, counts in zip(self.patients, there, strict=True) if counts])

    def by_patient(self) -> "Additive":
        """The same statistic with one row a patient, named by running number in order of first appearance."""
        sums = by_patient(self.sums, self.patients)
        return Additive(sums, tuple(map(str, range(len(sums)))), self.combine, self.parameters, self.paired)


@combiner("mean")
def mean(sums: np.ndarray) -> np.ndarray:
    """sum of values / number of samples: (R, 2) -> (R,); also a ratio of any two sums. NaN where the second is 0."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] != 0)


@combiner(PROPORTION, bounds=(0, 1))
def proportion(sums: np.ndarray) -> np.ndarray:
    """Hits / samples: (R, 2) -> (R,), in [0, 1]."""
    hits, samples = sums.T
    return mean(np.stack([hits, samples], axis=1))


@combiner("affine-mean")
def affine_mean(sums: np.ndarray, *, zero: float, one: float) -> np.ndarray:
    """(mean - zero) / (one - zero): a mean on a scale of two known values, such as shuffled and real pairs."""
    return (mean(sums) - zero) / (one - zero)
