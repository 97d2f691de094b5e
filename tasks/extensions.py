"""Metrics of other packages: found by entry point, asked after a task's own."""

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from tasks.context import Context
from tasks.protocols import Case, Prediction
from tasks.task import Score

ENTRY_POINTS = "medim.metrics"
Metric = Callable[[str, Sequence[Case], Sequence[Prediction], Context], Sequence[Score]]
"""(task's name, cases, predictions in any order, context) -> scores; nothing for a task that it has no part in.

`tasks.scoring.make_score` makes a score with its signature, and its interval where an `Additive` is given.
"""


def extra_scores(task: str, cases: Sequence[Case], predictions: Sequence[Prediction], context: Context) -> list[Score]:
    """What every registered metric says of these predictions.

    Raises:
        ValueError: a metric bears the name of another.
    """
    scores: list[Score] = []
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        metric: Metric = entry.load()
        scores += metric(task, cases, predictions, context)
    names = [score.metric for score in scores]
    if len(set(names)) < len(names):
        raise ValueError(f"two registered metrics are called '{next(n for n in names if names.count(n) > 1)}'")
    return scores


def versions() -> list[str]:
    """Registered metrics with their packages' versions: scores are made anew when one of them changes."""
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
    return [f"{entry.name}={entry.value} {entry.dist.version if entry.dist is not None else ''}".strip() for entry in found]
