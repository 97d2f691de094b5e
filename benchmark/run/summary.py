"""The table a run ends with: the model among its anchors, by the main metrics of each task."""

from collections.abc import Sequence

from leaderboard.record import Record

# Columns of the printed table; the page has all of them. A metric that is absent makes no column.
MAIN = {
    "image-generation": ("macro finding F1", "KID (EfficientNet-Lite0)", "Fréchet distance (EfficientNet-Lite0)", "FID"),
    "report-generation": ("macro finding F1", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"),
    "memorisation": (
        "flagged images",
        "flagged images expected of unseen ones",
        "authenticity (EfficientNet-Lite0)",
        "flagged reports",
        "verbatim reports",
        "planted copies found",
    ),
    "joint-generation": (
        "joint agreement",
        "anchored joint agreement",
        "max prevalence error",
        "max domain share error",
        "anchored retrieval R@10 (image to report)",
        "distinct reports",
    ),
    "likelihood": (
        "nats per pair (joint)",
        "report nats per token (report|image)",
        "report nats per token (unigram code)",
        "report bits per byte (report|image)",
        "image bits per token (image|report)",
        "own image preferred",
    ),
}
MAIN |= dict.fromkeys(
    ("editing", "editing-removal", "inpainting"),
    (
        "edit hit rate",
        "other findings kept",
        "hit and others kept",
        "tokens changed outside the region",
        "share of tokens redrawn",
    ),
)
MOST = 6  # columns


def summary(records: Sequence[Record]) -> str:
    """The records as one plain-text table per task: rows are systems, the model first."""
    return "\n\n".join(_table(task, [r for r in records if r.task == task]) for task in dict.fromkeys(r.task for r in records))


def _table(task: str, records: Sequence[Record]) -> str:
    present = list(dict.fromkeys(record.metric for record in records))
    metrics = [metric for name in MAIN.get(task, ()) if (metric := _named(name, present)) is not None] or present[:MOST]
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
