"""Metrics of other packages: found by entry point, computed after a task's own."""

import json
import math
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from medim.common.errors import UserError, foreign
from medim.common.offline import offline
from tasks.protocols import Cases, Predictions
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, because, make_score

ENTRY_POINTS = "medim.metrics"
Metric = Callable[[str, Cases, Predictions, Context], Sequence[Score]]
"""(task's name, cases, predictions in any order, context) -> scores; nothing for a task that it has no part in.

`tasks.scoring.scores.make_score` makes a score with its signature, and its interval where an `Additive` is given.
"""


def extra_scores(task: str, cases: Cases, predictions: Predictions, context: Context, own: Sequence[Score] = ()) -> list[Score]:
    """What every registered metric says of these predictions, beside the task's `own` scores.
    One that cannot be loaded, raises, gives what is no score or takes the name of another score is withheld whole: a score
    under its entry point's name says why. Nothing is downloaded."""
    scores: list[Score] = []
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        try:
            with foreign(f"metric '{entry.name}' ({entry.value})"), offline():
                metric: Metric = entry.load()
                scores += _checked(metric(task, list(cases), list(predictions), context), [*own, *scores])
        except UserError as error:
            n, coverage = len(cases), len(predictions) / len(cases) if cases else 0.0
            why = {"unavailable": True} | because(error)
            scores.append(make_score(entry.name, None, context, n, min(coverage, 1.0), None, reason=str(error), **why))
    return scores


def _checked(scores: Sequence[Score], others: Sequence[Score]) -> list[Score]:
    """Scores as a record can hold them. Raises ValueError, TypeError: they are not."""
    names = [score.metric for score in others]
    for score in scores:
        if not isinstance(score, Score):
            raise TypeError(f"gave {type(score).__name__} and no tasks.scoring.scores.Score")
        if not score.metric or not score.metric.isprintable():
            raise ValueError(f"a score is called {score.metric!r}")
        if score.metric in names:
            raise ValueError(f"two metrics are called '{score.metric}'")
        names.append(score.metric)
        if score.value is None and not score.reason:
            raise ValueError(f"'{score.metric}' has neither a value nor a reason")
        if not 0 <= score.coverage <= 1 or score.n < 0:
            raise ValueError(f"'{score.metric}' has n {score.n} and coverage {score.coverage}")
        if (score.ci_low is None) != (score.ci_high is None):
            raise ValueError(f"'{score.metric}' has one end of an interval")
        for number in (score.value, score.ci_low, score.ci_high):
            if number is not None and not math.isfinite(float(number)):
                raise ValueError(f"'{score.metric}' has {number}: a value that does not exist is None, with a reason")
            if isinstance(number, bool | str):
                raise TypeError(f"'{score.metric}' has {number!r}: a number is needed")
        json.dumps(dict(score.signature), allow_nan=False)
    return list(scores)


def versions() -> list[str]:
    """Registered metrics with their packages' versions: scores are recomputed when one of them changes."""
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
    return [f"{entry.name}={entry.value} {entry.dist.version if entry.dist is not None else ''}".strip() for entry in found]
