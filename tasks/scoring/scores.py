"""A score with its signature, and predictions brought in line with their cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import ForeignError, UserError, foreign
from medim.imaging.images import square
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import Interval
from tasks.protocols import Cases, Prediction, Predictions
from tasks.scoring.context import Context

METRICS_VERSION = "1"  # raised whenever a value of a metric could change on the same input
FAILED = "failed"  # in the signature of a score that code which is not ours failed to give


@dataclass(frozen=True)
class Score:
    """One metric of one system on one task."""

    metric: str  # its name, as a column's heading
    value: float | None  # None where it is withheld; `reason` then says why
    n: int  # number of cases (for a distribution metric, of generated images)
    coverage: float  # share of the cases for which the system gave what was requested, in [0, 1]
    higher_is_better: bool | None  # None for a descriptive value (a prevalence, a share, a length)
    signature: Mapping[str, Any]  # what has to be equal for two values to be comparable
    # ci_low, ci_high: 95 % interval, where there is one
    ci_low: float | None = None
    ci_high: float | None = None
    reason: str | None = None
    # the sums that value and interval follow from, where the metric is a function of sums over samples
    additive: Additive | None = field(default=None, compare=False, repr=False)


Scored = tuple[list[Score], list[dict[str, float]]]
"""Scores, and per-sample scores: one dict for each case, in the cases' order."""


def aligned(cases: Cases, predictions: Predictions) -> list[Prediction]:
    """One prediction per case, in the cases' order; a case without one gets an empty prediction.
    Raises UserError: no cases, two predictions of one id, or one of an id that is no case."""
    if not cases:
        raise UserError("there are no cases to score")
    by_id: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.id in by_id:
            raise UserError(f"two predictions for case '{prediction.id}'")
        by_id[prediction.id] = prediction
    known = {case.id for case in cases}
    if strangers := [i for i in by_id if i not in known]:
        raise UserError(f"prediction '{strangers[0]}' answers no case of this split ({len(strangers)} such)")
    return [by_id.get(case.id, Prediction(case.id)) for case in cases]


def images_of(cases: Cases, predictions: Predictions) -> list[Image.Image | None]:
    """The predicted images, brought to the geometry and size of the cases' own."""
    return [
        None if prediction.image is None else square(prediction.image, case.image.width)
        for case, prediction in zip(cases, predictions, strict=True)
    ]


def reports_of(predictions: Predictions) -> list[str | None]:
    """The predicted reports; a blank one counts as missing."""
    return [p.report if p.report is not None and p.report.strip() else None for p in predictions]


def coverage_of(items: Sequence[Any]) -> float:
    """Share of items that are not missing."""
    return sum(item is not None for item in items) / len(items)


def make_score(
    metric: str,
    value: float | None,
    context: Context,
    n: int,
    coverage: float,
    higher_is_better: bool | None,
    interval: Interval | None = None,
    method: str | None = None,
    reason: str | None = None,
    additive: Additive | None = None,
    **details: Any,
) -> Score:
    """A score with its signature.
    `interval`: computed elsewhere, by `method`.
    `additive`: the sums that the value is a function of; the interval follows from them. Stored unless the value is withheld.
    `details`: what else the signature says. `unavailable=True` where a tool, a model or a package is missing on this machine;
    what a rule withholds, another machine withholds too.
    Raises ValueError: the value is not that of its sums, or an interval is given beside them."""
    if value is None:
        additive = None
    elif additive is not None:
        if not np.isclose(additive.value(), value, rtol=1e-6, atol=1e-9, equal_nan=True):
            raise ValueError(f"{metric}: the value is {value}, but its sums give {additive.value()}")
        if interval is not None:
            raise ValueError(f"{metric}: the interval follows from its sums; give one of the two")
        interval = additive.interval(context.seed)
        method = additive.method if method is None else method
    if interval is not None:
        details["interval"] = interval.reason or f"95 %, {method}, seed {context.seed}"
    return Score(
        metric=metric,
        value=value,
        n=n,
        coverage=coverage,
        higher_is_better=higher_is_better,
        signature={"metric": metric, "version": METRICS_VERSION, "protocol": context.protocol, "n": n, **details},
        ci_low=interval.low if interval is not None and value is not None else None,
        ci_high=interval.high if interval is not None and value is not None else None,
        reason=reason,
        additive=additive,
    )


@dataclass(frozen=True)
class Scorer:
    """Makes the scores of one system on one set of samples."""

    context: Context
    # n, coverage: of every score
    n: int
    coverage: float
    details: Mapping[str, Any] = field(default_factory=dict)  # what every signature says

    def __call__(
        self,
        metric: str,
        value: float | Additive | None,
        better: bool | None,
        reason: str | None = None,
        *,
        interval: Interval | None = None,
        method: str | None = None,
        additive: Additive | None = None,
        **details: Any,
    ) -> Score:
        """Returns a score: of sums, of a value (with its sums), or withheld (None) for a reason."""
        number = value.value() if isinstance(value, Additive) else value
        additive = value if isinstance(value, Additive) else additive
        return make_score(
            metric,
            number,
            self.context,
            self.n,
            self.coverage,
            better,
            interval,
            method,
            reason,
            additive,
            **{**self.details, **details},
        )

    def ratio(
        self, metric: str, sums: np.ndarray, patients: Sequence[str], better: bool | None, empty: str, **details: Any
    ) -> Score:
        """Returns the sum of the first column of (N, 2) over that of the second; withheld as `empty` where that is 0."""
        additive = Additive(sums, tuple(patients), "mean") if sums[:, 1].sum() else None
        return self(metric, additive, better, None if additive is not None else empty, **details)

    def withheld(self, directions: Mapping[str, bool | None], reason: str, **details: Any) -> list[Score]:
        """Returns scores without a value, by metric and whether higher is better."""
        return [self(metric, None, better, reason, **details) for metric, better in directions.items()]

    def attempt(self, metric: str, scores: Callable[[], list[Score]]) -> list[Score]:
        """Returns the scores, or one that is withheld and says what is missing, or how code that is not ours failed."""
        try:
            with foreign(metric.partition(",")[0]):
                return scores()
        except UserError as error:
            return [self(metric, None, True, str(error), **{"unavailable": True} | because(error))]

    def of(self, n: int | None = None, coverage: float | None = None, **details: Any) -> "Scorer":
        """Returns one for other samples, or that says more."""
        return Scorer(
            self.context,
            self.n if n is None else n,
            self.coverage if coverage is None else coverage,
            {**self.details, **details},
        )


def because(error: UserError) -> dict[str, Any]:
    """What the signature says of a score that an error withholds: where code that is not ours failed, it is tried again."""
    return {"unavailable": True, FAILED: True} if isinstance(error, ForeignError) else {}
