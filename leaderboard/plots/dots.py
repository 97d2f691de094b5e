"""Dot plots of a table: its metrics beside their anchors, and its breakdowns by finding or domain."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.ticker
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from leaderboard.plots.style import FAINT, GREY, INK, STYLE, Plot, look, png, slug
from leaderboard.record import Record
from leaderboard.tables.boards import Board, Breakdown, Row, Table, breakdown
from leaderboard.tables.formats import arrow, direction_of, item_of, number
from leaderboard.tables.ranking import CHANGE

MINIMUM_ITEMS, MINIMUM_ROWS = 4, 2  # of a breakdown: fewer are read better from the table
MOST_MODELS, MOST_IN_BREAKDOWN = 24, 6  # drawn: the first of the table; more cannot be told apart
TARGETS = ("real", "reconstruction")  # the anchors that a breakdown is held against


def table_plots(board: Board, table: Table, prefix: str) -> list[Plot]:
    """The plots of one task: its metrics, and one per group of its breakdowns; `prefix` starts every file name."""
    where = f"{table.task.replace('-', ' ').capitalize()} on {board.dataset} ({board.split})"
    plots = []
    metrics = [metric for metric in table.metrics if _worth_a_panel(table, metric)]
    if metrics:
        plots.append(_metrics_plot(where, table, metrics, f"{prefix}-metrics"))
    groups: dict[str, dict[str, Breakdown]] = {}
    for metric in table.details:
        part = breakdown(metric)
        if part is not None and item_of(part.group) != "metric" and _values(table.rows, metric):
            groups.setdefault(part.group, {})[metric] = part
    for group, parts in groups.items():
        rows = _breakdown_rows(table, parts)
        if len(parts) >= MINIMUM_ITEMS and len(rows) >= MINIMUM_ROWS and any(row.kind == "measured" for row in rows):
            plots.append(_breakdown_plot(where, table, group, parts, rows, f"{prefix}-{slug(group)}"))
    return plots


def _worth_a_panel(table: Table, metric: str) -> bool:
    """One mark without an interval says no more than its cell; an ablation's changes have the tornado plot."""
    if metric.startswith(CHANGE):
        return False
    valued = [record for record in table.column(metric).values() if record.value is not None]
    return len(valued) > 1 or any(record.ci_low is not None for record in valued)


@matplotlib.rc_context(STYLE)
def _metrics_plot(where: str, table: Table, metrics: Sequence[str], name: str) -> Plot:
    rows = _at_most(MOST_MODELS, [row for row in table.rows if any(_values([row], metric) for metric in metrics)])
    models = [row.label for row in rows if row.kind == "measured"]
    columns = min(3, len(metrics))
    lines = math.ceil(len(metrics) / columns)
    layout = ConstrainedLayoutEngine(wspace=0.06, hspace=0.06)
    figure = Figure(figsize=(0.9 + 3.1 * columns, lines * (0.75 + 0.27 * len(rows))), layout=layout)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes, metric in zip(grid.flat, metrics, strict=False):
        for height, row in enumerate(rows):
            for value, record in _values([row], metric):
                colour, marker = look(row.label, row.first.model, row.kind, models)
                if row.kind == "anchor":
                    axes.axvline(value, color=FAINT, linewidth=0.9, zorder=0)
                if record.ci_low is not None and record.ci_high is not None:
                    axes.hlines(height, record.ci_low, record.ci_high, color=colour, linewidth=1.8, alpha=0.75)
                axes.plot(value, height, marker=marker, color=colour, markersize=6, linestyle="none")
        axes.set_title(textwrap.fill(f"{metric} {arrow(direction_of(table.column(metric).values()))}".rstrip(), 30))
        axes.margins(x=0.1)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, prune=None, steps=[1, 2, 5, 10]))
        _name_rows(axes, [row.label for row in rows])
    for axes in grid.flat[len(metrics) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_color(INK if row.kind == "measured" else GREY)
    left = sum(row.kind == "measured" for row in table.rows) - len(models)
    more = f"; the first {len(models)} models of the table" if left > 0 else ""
    title = f"{where}: models and anchors, with 95 % intervals where there are any{more}"
    parts = []
    for metric in metrics:
        values = [f"{label} {number(r.value, 3)}" for label, r in table.column(metric).items() if r.value is not None]
        parts.append(f"{metric}: {', '.join(values)}")
    return Plot(name, title, f"Dot plot. {'; '.join(parts)}.", png(figure))


def _breakdown_rows(table: Table, parts: Mapping[str, Breakdown]) -> list[Row]:
    """Models, and the anchors that are a target, as far as they have values of a breakdown."""
    shown = [row for row in table.rows if row.kind == "measured" or row.first.model in TARGETS]
    return _at_most(MOST_IN_BREAKDOWN, [row for row in shown if any(_values([row], metric) for metric in parts)])


@matplotlib.rc_context(STYLE)
def _breakdown_plot(
    where: str, table: Table, group: str, parts: Mapping[str, Breakdown], rows: Sequence[Row], name: str
) -> Plot:
    items = list(dict.fromkeys(part.item for part in parts.values()))
    modalities = list(dict.fromkeys(part.modality for part in parts.values()))
    models = [row.label for row in rows if row.kind == "measured"]
    looks = {row.label: look(row.label, row.first.model, row.kind, models) for row in rows}
    faces = {row.label: "white" if row.kind == "anchor" else looks[row.label][0] for row in rows}
    rows = sorted(rows, key=lambda row: row.kind == "measured")  # the anchors beneath the models, drawn hollow
    width = 2.6 + 3.2 * len(modalities)
    columns = max(1, int(width * 11 / (max(len(row.label) for row in rows) + 7)))  # of the legend
    height = 0.9 + 0.26 * len(items) + 0.2 * math.ceil(len(rows) / columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    share = group == "prevalence"
    direction = direction_of(table.column(next(iter(parts))).values())
    panels = figure.subplots(1, len(modalities), squeeze=False, sharey=True, sharex=True)[0]
    for axes, modality in zip(panels, modalities, strict=True):
        where_item = {part.item: metric for metric, part in parts.items() if part.modality == modality}
        for height, item in enumerate(items):
            values = {row.label: value for row in rows for value, _ in _values([row], where_item.get(item, ""))}
            if values:
                axes.hlines(height, min(values.values()), max(values.values()), color=FAINT, linewidth=2, zorder=0)
            for label, value in values.items():
                colour, marker = looks[label]
                axes.plot(
                    value, height, marker=marker, color=colour, markerfacecolor=faces[label], markersize=6.5, linestyle="none"
                )
        axes.set_title(f"{modality}s" if modality else "")
        axes.set_xlabel("share of the samples that show it" if share else f"{group} {arrow(direction)}".rstrip())
        axes.grid(axis="x", color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.margins(x=0.06)
        if share:
            axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
        _name_rows(axes, items)
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=faces[label], label=label)
        for label, (colour, marker) in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=columns)
    title = f"{group[:1].upper()}{group[1:]} by {item_of(group)}: {where[:1].lower()}{where[1:]}"
    return Plot(name, title, _breakdown_alt(group, parts, rows), png(figure), group)


def _breakdown_alt(group: str, parts: Mapping[str, Breakdown], rows: Sequence[Row]) -> str:
    sums = []
    for row in rows:
        values = [value for metric in parts for value, _ in _values([row], metric)]
        low, mean, high = (number(value, 3) for value in (min(values), sum(values) / len(values), max(values)))
        sums.append(f"{row.label} from {low} to {high}, mean {mean}")
    return f"Dot plot of {group} by {item_of(group)}; the values stand in the table beside it. " + "; ".join(sums) + "."


def _name_rows(axes: matplotlib.axes.Axes, names: Sequence[str]) -> None:
    """One name a height, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="both", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    sns.despine(ax=axes, left=True)


def _at_most(count: int, rows: Sequence[Row]) -> list[Row]:
    """The first `count` models, and every anchor."""
    return [*[row for row in rows if row.kind == "measured"][:count], *(row for row in rows if row.kind != "measured")]


def _values(rows: Sequence[Row], metric: str) -> list[tuple[float, Record]]:
    """The values of one metric in some rows, each with its record."""
    cells = [row.cells[metric] for row in rows if metric in row.cells]
    return [(record.value, record) for record in cells if record.value is not None]
