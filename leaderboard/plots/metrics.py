"""Pictures of the leaderboard: metrics beside their anchors, breakdowns by finding, lengths of reports."""

import io
import math
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import matplotlib.ticker
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from leaderboard.record import Record
from leaderboard.tables.compare import Board, BreakdownError, Row, Table, breakdown
from leaderboard.tables.formats import arrow, direction_of, item_of, number
from leaderboard.tables.ranking import CHANGE

# Okabe and Ito's palette: told apart with every common colour vision; anchors are grey and differ by marker.
MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MODEL_MARKERS = ("o", "s", "^", "v", "P", "X", "<")  # one more than colours: 42 models look each another way
ANCHOR_MARKERS = {"real": "D", "reconstruction": "h", "shuffled": "x", "constant": "+"}
INK, GREY, FAINT = "#1f2933", "#7b8794", "#d5dbe1"
STYLE = {
    **sns.axes_style("white"),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
DPI = 130
MINIMUM_ITEMS = 4  # fewer are read better from the table
MOST_MODELS, MOST_IN_BREAKDOWN = 24, 6  # drawn: the first of the table; more cannot be told apart


@dataclass(frozen=True)
class Plot:
    """A picture.

    Attributes:
        name: file name without `.png`.
        title: what it shows, in one line.
        alt: the same for those who do not see it, with the values that matter.
        png: the file's bytes.
        group: the breakdown that it belongs to, or None.
        folded: shown only on request.
        csv: the numbers that it shows, for a file beside it; None for none.
    """

    name: str
    title: str
    alt: str
    png: bytes
    group: str | None = None
    folded: bool = False
    csv: str | None = None


def table_plots(board: Board, table: Table, prefix: str) -> list[Plot]:
    """The plots of one task: its metrics, and one per group of its breakdowns.

    Args:
        prefix: starts every file name.
    """
    plots = []
    if any(_worth_a_panel(table, metric) for metric in table.metrics):
        plots.append(_metrics_plot(board, table, f"{prefix}-metrics"))
    drawn = Counter(part.group for m in table.details if (part := breakdown(m)) and _drawable(table, m))
    for group, size in drawn.items():
        rows = _breakdown_rows(table, group)
        if size >= MINIMUM_ITEMS and rows:
            plots.append(_breakdown_plot(board, table, group, rows, f"{prefix}-{slug(group)}"))
    return plots


def lengths_plot(
    title: str, lengths: Mapping[str, Sequence[int]], real: Sequence[int], models: Sequence[str], name: str
) -> Plot:
    """Cumulative shares of report lengths in words.

    Args:
        lengths: by model, one number of words per report.
        real: the same of the references.
        models: all models of the table, in its order: a model has the colour of its place there.
        name: file name without its ending.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.subplots()
        for label, words in lengths.items():
            colour, _ = look(label, label, "measured", models)
            sns.ecdfplot(x=np.asarray(words), ax=axes, color=colour, linewidth=2, label=label)
        sns.ecdfplot(x=np.asarray(real), ax=axes, color=GREY, linewidth=2, linestyle="--", label="real")
        axes.set(xlabel="length of the report (words)", ylabel="share of reports", ylim=(0, 1.02))
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        figure.legend(loc="outside upper left", ncols=max(1, 70 // (7 + max(map(len, lengths)))))
        sns.despine(ax=axes, left=True)
        alt = "Cumulative shares of report lengths. Medians: " + ", ".join(
            f"{label} {np.median(words):g} words" for label, words in [*lengths.items(), ("real", real)]
        )
        return Plot(name, title, alt, png(figure))


def _metrics_plot(board: Board, table: Table, name: str) -> Plot:
    metrics = [metric for metric in table.metrics if _worth_a_panel(table, metric)]
    rows = _at_most(MOST_MODELS, [row for row in table.rows if any(_has_value(row.cells.get(m)) for m in metrics)])
    labels = [row.label for row in rows]
    columns = min(3, len(metrics))
    lines = math.ceil(len(metrics) / columns)
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(wspace=0.06, hspace=0.06)
        figure = Figure(figsize=(0.9 + 3.1 * columns, lines * (0.75 + 0.27 * len(rows))), layout=layout)
        grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
        models = [row.label for row in rows if row.kind == "measured"]
        for axes, metric in zip(grid.flat, metrics, strict=False):
            for height, row in enumerate(rows):
                record = row.cells.get(metric)
                if record is None or record.value is None:
                    continue
                colour, marker = look(row.label, row.first.model, row.kind, models)
                if row.kind == "anchor":
                    axes.axvline(record.value, color=FAINT, linewidth=0.9, zorder=0)
                if record.ci_low is not None and record.ci_high is not None:
                    axes.hlines(height, record.ci_low, record.ci_high, color=colour, linewidth=1.8, alpha=0.75)
                axes.plot(record.value, height, marker=marker, color=colour, markersize=6, linestyle="none")
            title = f"{metric} {arrow(direction_of(table.column(metric).values()))}".rstrip()
            axes.set_title(textwrap.fill(title, 30))
            axes.set_yticks(range(len(labels)), labels)
            axes.tick_params(axis="both", length=0)
            axes.margins(x=0.1)
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, prune=None, steps=[1, 2, 5, 10]))
            sns.despine(ax=axes, left=True)
        for axes in grid.flat[len(metrics) :]:
            axes.set_visible(False)
        grid[0, 0].set_ylim(len(rows) - 0.4, -0.6)
        for axes in grid[:, 0]:
            for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
                tick.set_color(INK if row.kind == "measured" else GREY)
        where = f"{_plain(table.task)} on {board.dataset} ({board.split})"
        left = sum(row.kind == "measured" for row in table.rows) - len(models)
        more = f"; the first {len(models)} models of the table" if left > 0 else ""
        title = f"{where}: models and anchors, with 95 % intervals where there are any{more}"
        return Plot(name, title, _metrics_alt(table, metrics), png(figure))


def _metrics_alt(table: Table, metrics: Sequence[str]) -> str:
    parts = []
    for metric in metrics:
        values = [f"{label} {number(r.value, 3)}" for label, r in table.column(metric).items() if r.value is not None]
        parts.append(f"{metric}: {', '.join(values)}")
    return "Dot plot. " + "; ".join(parts) + "."


def _breakdown_rows(table: Table, group: str) -> list[Row]:
    """Models, and the anchors that are a target, as far as they have values of a breakdown."""
    metrics = [metric for metric in table.details if (part := breakdown(metric)) and part.group == group]
    rows = [
        row
        for row in table.rows
        if (row.kind == "measured" or row.first.model in ("real", "reconstruction"))
        and any(_has_value(row.cells.get(metric)) for metric in metrics)
    ]
    return _at_most(MOST_IN_BREAKDOWN, rows)


def _breakdown_plot(board: Board, table: Table, group: str, rows: Sequence[Row], name: str) -> Plot:
    parts = {metric: part for metric in table.details if (part := breakdown(metric)) and part.group == group}
    items = list(dict.fromkeys(part.item for part in parts.values()))
    modalities = list(dict.fromkeys(part.modality for part in parts.values()))
    models = [row.label for row in rows if row.kind == "measured"]
    # The anchor goes beneath the models: it is the target, drawn hollow.
    rows = sorted(rows, key=lambda row: row.kind == "measured")
    with matplotlib.rc_context(STYLE):
        width = 2.6 + 3.2 * len(modalities)
        columns = max(1, int(width * 11 / (max(len(row.label) for row in rows) + 7)))  # of the legend
        height = 0.9 + 0.26 * len(items) + 0.2 * math.ceil(len(rows) / columns)
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(1, len(modalities), squeeze=False, sharey=True, sharex=True)[0]
        for axes, modality in zip(grid, modalities, strict=True):
            where = {part.item: metric for metric, part in parts.items() if part.modality == modality}
            for height, item in enumerate(items):
                cells = [(row, row.cells.get(where.get(item, ""))) for row in rows]
                values = [(row, cell.value) for row, cell in cells if cell is not None and cell.value is not None]
                if values:
                    span = [value for _, value in values]
                    axes.hlines(height, min(span), max(span), color=FAINT, linewidth=2, zorder=0)
                for row, value in values:
                    colour, marker = look(row.label, row.first.model, row.kind, models)
                    face = "white" if row.kind == "anchor" else colour
                    axes.plot(
                        value, height, marker=marker, color=colour, markerfacecolor=face, markersize=6.5, linestyle="none"
                    )
            axes.set_title(f"{modality}s" if modality else "")
            axes.set_yticks(range(len(items)), items)
            axes.tick_params(axis="both", length=0)
            axes.grid(axis="x", color=FAINT, linewidth=0.5)
            axes.set_axisbelow(True)
            axes.margins(x=0.06)
            sns.despine(ax=axes, left=True)
            if group == "prevalence":
                axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
        grid[0].set_ylim(len(items) - 0.4, -0.6)
        direction = direction_of(table.column(next(iter(parts))).values())
        for axes in grid:
            shown = "share of the samples that show it" if group == "prevalence" else f"{group} {arrow(direction)}".rstrip()
            axes.set_xlabel(shown)
        models_first = sorted(rows, key=lambda row: row.kind != "measured")
        handles = []
        for row in models_first:
            colour, marker = look(row.label, row.first.model, row.kind, models)
            face = "white" if row.kind == "anchor" else colour
            handles.append(Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face, label=row.label))
        figure.legend(handles=handles, loc="outside lower left", ncols=columns)
        what = f"{group[:1].upper()}{group[1:]} by {item_of(group)}"
        title = f"{what}: {_plain(table.task).lower()} on {board.dataset} ({board.split})"
        return Plot(name, title, _breakdown_alt(group, parts, rows), png(figure), group, folded=group != "prevalence")


def _breakdown_alt(group: str, parts: Mapping[str, BreakdownError], rows: Sequence[Row]) -> str:
    sums = []
    for row in rows:
        values = [cell.value for m in parts if (cell := row.cells.get(m)) is not None and cell.value is not None]
        low, mean, high = (number(value, 3) for value in (min(values), sum(values) / len(values), max(values)))
        sums.append(f"{row.label} from {low} to {high}, mean {mean}")
    return f"Dot plot of {group} by {item_of(group)}; the values stand in the table beside it. " + "; ".join(sums) + "."


def look(label: str, name: str, kind: str, models: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a row: a model's by its place among `models`, an anchor's grey."""
    if kind == "anchor":
        return GREY, ANCHOR_MARKERS.get(name, "D")
    index = models.index(label)
    return MODEL_COLOURS[index % len(MODEL_COLOURS)], MODEL_MARKERS[index % len(MODEL_MARKERS)]


def _at_most(count: int, rows: Sequence[Row]) -> list[Row]:
    """The first `count` models, and every anchor."""
    shown = [row for row in rows if row.kind == "measured"][:count]
    return [*shown, *(row for row in rows if row.kind != "measured")]


def _plain(task: str) -> str:
    return task.replace("-", " ").capitalize()


def _has_value(record: Record | None) -> bool:
    return record is not None and record.value is not None


def _drawable(table: Table, metric: str) -> bool:
    return any(_has_value(record) for record in table.column(metric).values())


def _worth_a_panel(table: Table, metric: str) -> bool:
    """One mark without an interval says no more than its cell; an ablation's changes have a plot of their own, the tornado."""
    if metric.startswith(CHANGE):
        return False
    told = [record for record in table.column(metric).values() if record.value is not None]
    return len(told) > 1 or any(record.ci_low is not None for record in told)


def slug(text: str) -> str:
    """A text as part of a file name: lower-case letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def png(figure: Figure) -> bytes:
    """The bytes of a figure's PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    return stream.getvalue()
