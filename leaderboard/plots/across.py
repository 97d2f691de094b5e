"""Pictures across metrics and arms: do metrics agree, is fidelity bought by copying, what are pairs and choices worth?"""

import re
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from leaderboard.plots.metrics import FAINT, GREY, INK, MODEL_COLOURS, STYLE, Plot, look, png
from leaderboard.record import Record
from leaderboard.tables.compare import Board, Row, Table
from leaderboard.tables.formats import direction_of, number
from leaderboard.tables.ranking import CHANGE

MINIMUM_SYSTEMS, MINIMUM_METRICS = 4, 3  # of fewer a rank correlation says nothing
LEVEL = re.compile(r"^(?P<kind>.+) (?P<level>\d+) %$")
BASELINE = "real-repeated"  # of the utility curve: nothing added, as many steps
FIDELITY = ("image precision", "image density", "Fréchet distance", "KID")
MEMORY = ("flagged images",)
COVERAGE = ("image coverage", "image recall")


def across_plots(board: Board, prefix: str) -> list[tuple[str, Plot]]:
    """All of these pictures that a board has records for, each with the task that it belongs to."""
    plots = []
    tables = {table.task: table for table in board.tables}
    for task, table in tables.items():
        made = [agreement_plot(table, f"{prefix} {task}")]
        if task == "ablation":
            made.append(tornado_plot(table, f"{prefix} {task}"))
        if task.partition(" (")[0] == "augmentation":  # in brackets its regime
            made.append(utility_plot(table, f"{prefix} {task}"))
        plots += [(task, plot) for plot in made if plot is not None]
    if "memorisation" in tables and (plot := fidelity_plot(tables, prefix)) is not None:
        plots.append(("memorisation", plot))
    return plots


def agreement_plot(table: Table, prefix: str) -> Plot | None:
    """Spearman's correlation of metrics over the systems of a table, anchors included; None where there are too few."""
    columns = {}
    for metric in table.metrics:
        column = table.column(metric)
        values = {label: record.value for label, record in column.items() if record.value is not None}
        direction = direction_of(column.values())
        if len(values) >= MINIMUM_SYSTEMS and len(set(values.values())) > 1 and direction is not None:
            sign = 1 if direction else -1
            columns[metric] = {label: sign * value for label, value in values.items()}
    frame = pd.DataFrame(columns)
    if frame.shape[1] < MINIMUM_METRICS:
        return None
    found = frame.corr(method="spearman", min_periods=MINIMUM_SYSTEMS)
    side = 2.6 + 0.42 * len(found)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(side + 1.2, side), layout="constrained")
        axes = figure.subplots()
        sns.heatmap(
            found, vmin=-1, vmax=1, cmap="vlag_r", annot=True, fmt=".1f", annot_kws={"fontsize": 7}, square=True, linewidths=1,
            linecolor="white", ax=axes, cbar_kws={"label": "Spearman's rank correlation", "shrink": 0.6},
        )  # fmt: skip
        axes.set(xlabel="", ylabel="")
        axes.tick_params(length=0)
        drawn = png(figure)
    pairs = found.where(np.tril(np.ones(found.shape, bool), -1)).stack()
    alt = f"Heat map of rank correlations over {len(frame)} systems; all metrics turned so that high is good."
    if len(pairs):
        low, high = pairs.idxmin(), pairs.idxmax()
        alt += f" Least alike: {low[0]} and {low[1]} ({pairs.min():.2f}); most: {high[0]} and {high[1]} ({pairs.max():.2f})."
    return Plot(
        _name(prefix, "agreement"), f"Do metrics agree? {len(frame)} systems, anchors included", alt, drawn, folded=True
    )


def tornado_plot(table: Table, prefix: str) -> Plot | None:
    """What each arm of an ablation changes against its base, with its interval; run by run, the largest on top."""
    metric = next((name for name in table.metrics if name.startswith(CHANGE)), None)
    if metric is None:
        return None
    changes = [record for record in table.column(metric).values() if record.value is not None]
    if not changes:
        return None
    runs = list(dict.fromkeys(record.run for record in changes))
    changes.sort(key=lambda record: (runs.index(record.run), -abs(record.value or 0.0)))
    colours = {"better": MODEL_COLOURS[0], "worse": MODEL_COLOURS[1]}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.0 + 0.32 * len(changes)), layout="constrained")
        axes = figure.subplots()
        bases = [r.signature.get("base") or "its base" for r in changes]
        bases = [f"{base}, run {r.run[:8]}" if len(runs) > 1 else base for base, r in zip(bases, changes, strict=True)]
        names = [f"{r.model} (against {base})" for base, r in zip(bases, changes, strict=True)]
        verdicts = [str(r.signature.get("verdict", "not resolved")) for r in changes]
        sns.barplot(
            x=[r.value for r in changes], y=list(range(len(changes))), hue=verdicts, dodge=False, ax=axes, alpha=0.75,
            palette={v: colours.get(v, GREY) for v in verdicts}, orient="h",
        )  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        for height, record in enumerate(changes):
            if record.ci_low is not None and record.ci_high is not None:
                axes.hlines(height, record.ci_low, record.ci_high, color=INK, linewidth=1.4)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set(xlabel=f"{metric} (lower is better)" if not changes[0].higher_is_better else metric, ylabel="")
        sns.despine(ax=axes, left=True)
        drawn = png(figure)
    alt = "Tornado plot. " + "; ".join(
        f"{name}: {number(r.value or 0.0, 2)}, {verdict}" for name, r, verdict in zip(names, changes, verdicts, strict=True)
    )
    return Plot(_name(prefix, "tornado"), f"What each choice is worth: {metric}", alt + ".", drawn)


def utility_plot(table: Table, prefix: str) -> Plot | None:
    """A downstream score against the share of pairs added, by kind of pair and run; None below two points of one curve."""
    metric = next((name for name in table.metrics if any(_level(row) for row in table.rows if name in row.cells)), None)
    if metric is None:
        return None
    found = [(row, record) for row in table.rows if (record := row.cells.get(metric)) is not None and record.value is not None]
    points = [(*level, record) for row, record in found if (level := _level(row)) is not None]
    several = len({record.run for *_, record in points}) > 1
    zero = {record.run: record for row, record in found if row.first.model == BASELINE}
    shared = next(iter(zero.values())) if len(zero) == 1 else None  # runs that agree on it have one row together
    curves: dict[str, dict[int, Record]] = {}
    for kind, share, record in points:
        start = zero.get(record.run, shared)
        name = f"{kind} (run {record.run[:8]})" if several else kind
        curves.setdefault(name, {} if start is None else {0: start})[share] = record
    if all(len(curve) < 2 for curve in curves.values()):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for name, curve in curves.items():
            shares = sorted(curve)
            values = [curve[share] for share in shares]
            colour, marker = look(name, name, "measured", list(curves))
            sns.lineplot(x=shares, y=[r.value for r in values], marker=marker, color=colour, label=name, ax=axes)
            low, high = [_end(r.ci_low, r) for r in values], [_end(r.ci_high, r) for r in values]
            axes.fill_between(shares, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set(xlabel="pairs added, in per cent of the real ones", ylabel=metric)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        sns.despine(ax=axes, left=True)
        drawn = png(figure)
    told = [
        f"{name} {share} % {number(curve[share].value or 0.0, 3)}" for name, curve in curves.items() for share in sorted(curve)
    ]
    title = f"Are synthetic pairs useful? {metric} by share added; bands: 95 % intervals"
    return Plot(_name(prefix, "utility"), title, f"Curves of {metric}: {', '.join(told)}.", drawn)


def fidelity_plot(tables: Mapping[str, Table], prefix: str) -> Plot | None:
    """Fidelity against memorisation, the size of a mark its coverage of the data; None where a system has not all three."""
    memory = _first(tables["memorisation"], MEMORY)
    rows: dict[str, tuple[Row, float, float, float]] = {}
    for task in ("joint-generation", "image-generation"):
        if task in tables and not rows:
            fidelity, coverage = _first(tables[task], FIDELITY), _first(tables[task], COVERAGE)
            if not (memory and fidelity and coverage):
                continue
            flagged = {(r.first.run, r.first.model): r.cells[memory] for r in tables["memorisation"].rows if memory in r.cells}
            for row in tables[task].rows:
                cells = [flagged.get((row.first.run, row.first.model)), row.cells.get(fidelity), row.cells.get(coverage)]
                values = [cell.value for cell in cells if cell is not None and cell.value is not None]
                if len(values) == 3:
                    rows[row.label] = (row, values[0], values[1], values[2])
    if not memory or not any(row.kind == "measured" for row, *_ in rows.values()):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        models = [label for label, (row, *_) in rows.items() if row.kind == "measured"]
        for label, (row, copied, faithful, covered) in rows.items():
            colour, marker = look(label, row.first.model, row.kind, models)
            size = 40 + 260 * float(np.clip(covered, 0, 1))
            axes.scatter(copied, faithful, s=size, marker=marker, color=colour, alpha=0.75, linewidths=1.2)
            axes.annotate(label, (copied, faithful), xytext=(8, 6), textcoords="offset points", fontsize=8)
        axes.set(xlabel=f"{memory} (share; left is better)", ylabel=fidelity)
        axes.margins(0.15)
        axes.set_xlim(-0.02, max(0.1, 1.2 * max(copied for _, copied, _, _ in rows.values())))
        axes.grid(color=FAINT, linewidth=0.5)
        sns.despine(ax=axes)
        drawn = png(figure)
    told = [f"{label}: {number(a, 3)}, {number(b, 3)}, {number(c, 3)}" for label, (_, a, b, c) in rows.items()]
    title = f"Fidelity, memorisation and coverage: {fidelity} against {memory}; a larger mark covers more ({coverage})"
    return Plot(
        _name(prefix, "fidelity"), title, f"Scatter plot of {memory}, {fidelity}, {coverage}. {'; '.join(told)}.", drawn
    )


def _level(row: Row) -> tuple[str, int] | None:
    """The kind and share of an arm such as `real+synthetic 100 %`."""
    match = LEVEL.match(row.first.model)
    return (match["kind"], int(match["level"])) if match else None


def _first(table: Table, names: tuple[str, ...]) -> str | None:
    return next((metric for name in names for metric in table.metrics if metric.startswith(name)), None)


def _end(end: float | None, record: Record) -> float:
    return (record.value or 0.0) if end is None else end


def _name(prefix: str, what: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{prefix} {what}".lower()).strip("-")
