"""The table a run ends with: the model among its anchors, by the main metrics of each task."""

from collections.abc import Mapping, Sequence

from leaderboard.record import Record

MOST = 6  # columns where a task names none


def summary(records: Sequence[Record], headlines: Mapping[str, Sequence[str]]) -> str:
    """Returns one plain-text table per task: rows are systems, the model first.

    Args:
        headlines: the columns by task; of a task without any, the first that there are.
    """
    tasks = dict.fromkeys(record.task for record in records)
    return "\n\n".join(_table(task, [r for r in records if r.task == task], headlines.get(task, ())) for task in tasks)


def _table(task: str, records: Sequence[Record], headline: Sequence[str]) -> str:
    present = list(dict.fromkeys(record.metric for record in records))
    named = [_named(name, present) for name in headline]
    metrics = [metric for metric in named if metric is not None] or present[:MOST]
    systems = list(dict.fromkeys((record.model, record.kind) for record in records))
    cells = {(record.model, record.metric): _cell(record) for record in records}
    rows = [[task, *(f"{metric}{_arrow(metric, records)}" for metric in metrics)]]
    for name, kind in systems:
        label = name if kind == "measured" else f"  {name} ({kind})"
        rows.append([label, *(cells.get((name, metric), "") for metric in metrics)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * len(max(lines, key=len)))
    notes = dict.fromkeys(
        f"{r.metric}: {r.reason}" for r in records if r.kind == "measured" and r.value is None and r.metric in metrics
    )
    return "\n".join([*lines, *(f"  - {note}" for note in notes)])


def _named(name: str, present: Sequence[str]) -> str | None:
    """The metric of this name, or of this name with its protocol behind it; None where there is neither."""
    return name if name in present else next((metric for metric in present if metric.startswith(f"{name} (")), None)


def _arrow(metric: str, records: Sequence[Record]) -> str:
    better = next(record.higher_is_better for record in records if record.metric == metric)
    return "" if better is None else " ↑" if better else " ↓"


def _cell(record: Record) -> str:
    return "-" if record.value is None else f"{record.value:.4g}"
