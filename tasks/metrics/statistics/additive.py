"""Metrics that are functions of sums over samples: the sums of a run are enough to recompute its values and intervals.

    value    = f(sum_i s_i)                       i over samples, s_i in R^K: sufficient statistics of one sample
    resample = f(sum_p w_p sum_{i in p} s_i)      p over patients, w ~ Multinomial(P; 1/P, ..., 1/P)

Corpus BLEU, a macro F1, a mean and a proportion are of this form. f is registered under a name: a stored statistic is the sums
by patient, that name and its parameters.
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
_MODULES = {
    "tasks.metrics.clinical.findings": (
        *("macro-f1", "macro-f1-all", "macro-precision", "macro-recall"),
        *("micro-f1", "label-f1"),
    ),
    "tasks.metrics.pair.consistency": ("anchored", "agreement", "macro-mcc", "label-mcc"),
    "tasks.metrics.text.meteor": ("meteor-1.5",),
    "tasks.metrics.text.overlap": ("corpus-bleu",),
    "tasks.fine_detail.limits": ("smallest-seen",),
    "tasks.generation.long_form.reading": ("length-correlation",),
}
HOMES = {name: module for module, names in _MODULES.items() for name in names}
"""The module that registers each function: stored sums are read without importing the others."""
PROPORTION = "proportion"
COUNTS = frozenset({"mean", PROPORTION, "affine-mean"})
"""Whose second sum is a number of samples: a patient without any is no evidence."""


def combiner(name: str, bounds: tuple[float, float] | None = None, smooth: bool = True) -> Callable[[Combine], Combine]:
    """Registers f(sums (R, K), **parameters) -> (R,), vectorised over R; NaN where it is undefined. `bounds`: the least and the
    greatest possible value; intervals stay inside. `smooth`: whether it is differentiable in the sums. A quantile or a censored
    size is not. Raises ValueError: the name is taken."""

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
    """The function of this name; its module is imported at the first call and needs no torch.
    Raises UserError: an unknown name; the message suggests the nearest."""
    if name not in COMBINERS and name in HOMES:
        import_module(HOMES[name])
    if name not in COMBINERS:
        raise unknown("statistic", name, [*COMBINERS, *HOMES])
    return COMBINERS[name]


@dataclass(frozen=True, eq=False)
class Additive:
    """A statistic that is a function of sums over samples. Raises ValueError: rows and patients differ in number, sums are not
    finite, or parameters are not JSON-able. Raises UserError: an unknown combiner."""

    sums: np.ndarray  # (N, K) float64, one row per sample or per patient
    patients: tuple[str, ...]  # N names, the independent unit of each row
    combine: str  # name of a registered function of the sums, such as "mean", "macro-f1", "corpus-bleu"
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # its keyword arguments, JSON-able
    # row i of two systems on the same cases answers the same case. False for unprompted samples: two systems are then compared
    # as independent ones
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
        """The mean over samples of N values; a patient with more samples weighs more."""
        return cls(_counted(np.asarray(values, dtype=np.float64)), tuple(patients), "mean", paired=paired)

    @classmethod
    def proportion(cls, hits: Sequence[bool], patients: Sequence[str], paired: bool = True) -> "Additive":
        """The share of N samples that are true; its interval is Wilson's, over patients."""
        return cls(_counted(np.asarray(hits, dtype=bool).astype(np.float64)), tuple(patients), PROPORTION, paired=paired)

    @property
    def smooth(self) -> bool:
        """Whether its standard error follows from its slope."""
        return self.combine not in ROUGH

    @property
    def _by_score(self) -> bool:
        return self.combine in BOUNDS and len(set(self.patients)) < MANY

    @property
    def method(self) -> str:
        """How `interval` is computed, for signatures."""
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
        """95 %, over whole patients (of a proportion: Wilson's); without bounds where too few have samples."""
        if (few := self.few()) is not None:
            return few
        if self._by_score:
            return score_interval(self.by_patient(), BOUNDS[self.combine])
        if self.combine == PROPORTION:
            return wilson_interval(by_patient(self.sums, self.patients))
        found = resampled([self.by_patient()], seed, resamples)
        return Estimate(found.value, found.ends()).interval()

    def few(self) -> Interval | None:
        """An interval without bounds where too few patients have a sample, else None."""
        counted = self.sums[:, 1] != 0 if self.combine in COUNTS else np.ones(len(self.sums), dtype=bool)
        return too_few([patient for patient, counts in zip(self.patients, counted, strict=True) if counts])

    def by_patient(self) -> "Additive":
        """The same statistic with one row per patient, numbered in order of first appearance."""
        sums = by_patient(self.sums, self.patients)
        return Additive(sums, tuple(map(str, range(len(sums)))), self.combine, self.parameters, self.paired)


def _counted(column: np.ndarray) -> np.ndarray:
    """Values and the number of samples, 1 each: (N,) -> (N, 2)."""
    return np.stack([column, np.ones_like(column)], axis=1)


@combiner("mean")
def mean(sums: np.ndarray) -> np.ndarray:
    """Sum of values / number of samples, or any ratio of two sums: (R, 2) -> (R,); NaN where the second is 0."""
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
