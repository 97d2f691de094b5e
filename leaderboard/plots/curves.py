"""Plots of one question each: what is a choice worth, are pairs useful, is fidelity bought by copying, are lengths right?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from leaderboard.plots.style import FAINT, GREY, INK, MODEL_COLOURS, STYLE, Plot, look, png, slug
from leaderboard.record import Record
from leaderboard.tables.boards import Board, Row, Table
from leaderboard.tables.formats import number
from leaderboard.tables.ranking import CHANGE
from medim.common.csv_text import csv_text

LEVEL = re.compile(r"^(?P<kind>.+) (?P<level>\d+) %$")
BASELINE = "real-repeated"  # of the utility curve: nothing added, as many steps
MINIMUM_POINTS = 3  # of a curve: two are read better from the table
FIDELITY = ("image precision", "image density", "Fréchet distance", "KID")
MEMORY = ("flagged images",)
COVERAGE = ("image coverage", "image recall")
QUANTILES = tuple(round(0.05 * step, 2) for step in range(1, 20))
EVERY = "all"
FEWEST = 20  # reports of a domain, below which its quantiles say nothing
COLUMNS = ("model", "domain", "quantile", "reference words", "generated words", "reports", "references")


def curve_plots(board: Board, prefix: str) -> list[tuple[str, Plot]]:
    """All of these plots that a board has records for, each with the task that it belongs to."""
    tables = {table.task: table for table in board.tables}
    plots = []
    for task, table in tables.items():
        kind = task.partition(" (")[0]  # in brackets the regime of an augmentation
        draw = {"ablation": tornado_plot, "augmentation": utility_plot}.get(kind)
        plots.append((task, draw(table, slug(f"{prefix} {task}")) if draw else None))
    if "memorisation" in tables:
        plots.append(("memorisation", fidelity_plot(tables, slug(prefix))))
    return [(task, plot) for task, plot in plots if plot is not None]


@matplotlib.rc_context(STYLE)
def tornado_plot(table: Table, prefix: str) -> Plot | None:
    """What each arm of an ablation changes against its base, with its interval; run by run, the largest on top."""
    metric = next((name for name in table.metrics if name.startswith(CHANGE)), None)
    changes = [record for record in table.column(metric or "").values() if record.value is not None]
    if not changes:
        return None
    runs = list(dict.fromkeys(record.run for record in changes))
    changes.sort(key=lambda record: (runs.index(record.run), -abs(record.value or 0.0)))
    names = [
        f"{r.model} (against {r.signature.get('base') or 'its base'}{f', run {r.run[:8]}' if len(runs) > 1 else ''})"
        for r in changes
    ]
    verdicts = [str(r.signature.get("verdict", "not resolved")) for r in changes]
    colours = {"better": MODEL_COLOURS[0], "worse": MODEL_COLOURS[1]}
    figure = Figure(figsize=(7.2, 1.0 + 0.32 * len(changes)), layout="constrained")
    axes = figure.subplots()
    palette = {verdict: colours.get(verdict, GREY) for verdict in verdicts}
    bars = {"x": [r.value for r in changes], "y": list(range(len(changes))), "hue": verdicts}
    sns.barplot(**bars, orient="h", dodge=False, palette=palette, alpha=0.75, ax=axes)
    axes.set_yticks(range(len(names)), names)
    for height, record in enumerate(changes):
        if record.ci_low is not None and record.ci_high is not None:
            axes.hlines(height, record.ci_low, record.ci_high, color=INK, linewidth=1.4)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(xlabel=metric if changes[0].higher_is_better else f"{metric} (lower is better)", ylabel="")
    sns.despine(ax=axes, left=True)
    values = [number(record.value or 0.0, 2) for record in changes]
    parts = [f"{name}: {value}, {verdict}" for name, value, verdict in zip(names, values, verdicts, strict=True)]
    return Plot(f"{prefix}-tornado", f"What each choice is worth: {metric}", f"Tornado plot. {'; '.join(parts)}.", png(figure))


@matplotlib.rc_context(STYLE)
def utility_plot(table: Table, prefix: str) -> Plot | None:
    """A downstream score against the share of pairs added, by kind of pair and run; None without a curve of three points."""
    metric = next((name for name in table.metrics if any(_level(row) for row in table.rows if name in row.cells)), "")
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
    if all(len(curve) < MINIMUM_POINTS for curve in curves.values()):
        return None
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    shown = []
    for name, curve in curves.items():
        shares = sorted(curve)
        values = [curve[share].value or 0.0 for share in shares]
        ends = [(record.ci_low, record.ci_high) for record in map(curve.get, shares) if record is not None]
        low = [value if end is None else end for value, (end, _) in zip(values, ends, strict=True)]
        high = [value if end is None else end for value, (_, end) in zip(values, ends, strict=True)]
        colour, marker = look(name, name, "measured", list(curves))
        sns.lineplot(x=shares, y=values, marker=marker, color=colour, label=name, ax=axes)
        axes.fill_between(shares, low, high, color=colour, alpha=0.15, linewidth=0)
        shown += [f"{name} {share} % {number(value, 3)}" for share, value in zip(shares, values, strict=True)]
    axes.set(xlabel="pairs added, in per cent of the real ones", ylabel=metric)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    sns.despine(ax=axes, left=True)
    title = f"Are synthetic pairs useful? {metric} by share added; bands: 95 % intervals"
    return Plot(f"{prefix}-utility", title, f"Curves of {metric}: {', '.join(shown)}.", png(figure))


def _level(row: Row) -> tuple[str, int] | None:
    """The kind and share of an arm such as `real+synthetic 100 %`."""
    match = LEVEL.match(row.first.model)
    return (match["kind"], int(match["level"])) if match else None


@matplotlib.rc_context(STYLE)
def fidelity_plot(tables: Mapping[str, Table], prefix: str) -> Plot | None:
    """Fidelity against memorisation, the size of a mark its coverage of the data; None where a system has not all three."""
    memory = _first(tables["memorisation"], MEMORY)
    rows: dict[str, tuple[Row, float, float, float]] = {}
    for task in ("joint-generation", "image-generation"):
        if task in tables and not rows:
            fidelity, coverage = _first(tables[task], FIDELITY), _first(tables[task], COVERAGE)
            flagged = {(r.first.run, r.first.model): r.cells.get(memory) for r in tables["memorisation"].rows}
            for row in tables[task].rows:
                cells = [flagged.get((row.first.run, row.first.model)), row.cells.get(fidelity), row.cells.get(coverage)]
                values = [cell.value for cell in cells if cell is not None and cell.value is not None]
                if len(values) == 3:
                    rows[row.label] = (row, values[0], values[1], values[2])
    models = [label for label, (row, *_) in rows.items() if row.kind == "measured"]
    if not models:
        return None
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
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
    values_of = [f"{label}: {number(a, 3)}, {number(b, 3)}, {number(c, 3)}" for label, (_, a, b, c) in rows.items()]
    title = f"Fidelity, memorisation and coverage: {fidelity} against {memory}; a larger mark covers more ({coverage})"
    alt = f"Scatter plot of {memory}, {fidelity}, {coverage}. {'; '.join(values_of)}."
    return Plot(f"{prefix}-fidelity", title, alt, png(figure))


def _first(table: Table, names: tuple[str, ...]) -> str:
    """The first metric of a table that begins with one of the names, the first name first; empty for none."""
    return next((metric for name in names for metric in table.metrics if metric.startswith(name)), "")


@dataclass(frozen=True)
class Lengths:
    """Words of reports, one number each, by domain; `EVERY` holds all."""

    generated: Mapping[str, Sequence[int]]
    reference: Mapping[str, Sequence[int]]


def length_quantiles(lengths: Mapping[str, Lengths]) -> pd.DataFrame:
    """Quantiles of lengths, a row for each model, domain and quantile; domains of fewer than `FEWEST` reports are left out."""
    rows = []
    for model, by_domain in lengths.items():
        for domain, generated in by_domain.generated.items():
            reference = by_domain.reference.get(domain, ())
            if min(len(generated), len(reference)) >= FEWEST:
                pairs = zip(QUANTILES, np.quantile(reference, QUANTILES), np.quantile(generated, QUANTILES), strict=True)
                rows += [(model, domain, *map(float, pair), len(generated), len(reference)) for pair in pairs]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@matplotlib.rc_context(STYLE)
def length_plot(title: str, lengths: Mapping[str, Lengths], models: Sequence[str], name: str) -> Plot | None:
    """Quantile q of the generated lengths against quantile q of the reference lengths: on the diagonal where both have one law.
    Samples that answer cases have a panel for each domain; unprompted samples answer none and are held against all references.
    `lengths`: by model.
    `models`: all models of the table, in its order: a model has the colour of its place there.
    `name`: file name without its ending.
    Returns the figure and its table; None of too few reports."""
    table = length_quantiles(lengths)
    if table.empty:
        return None
    _, _, _, x, y, *_ = COLUMNS
    domains = [domain for domain in table["domain"].unique() if domain != EVERY]
    domains = domains if len(domains) > 1 else [EVERY]
    figure = Figure(figsize=(0.4 + 3.2 * len(domains), 3.7), layout="constrained")
    panels = figure.subplots(1, len(domains), squeeze=False)[0]
    for axes, domain in zip(panels, domains, strict=True):
        here = table[table["domain"] == domain]
        ends = [0.9 * here[[x, y]].to_numpy().min(), 1.05 * here[[x, y]].to_numpy().max()]
        axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--", zorder=0)
        for model in lengths:
            points = here[here["model"] == model]
            colour, marker = look(model, model, "measured", models)
            axes.plot(points[x], points[y], markersize=4, linewidth=1.2, label=model, color=colour, marker=marker)
        axes.set(xlabel="reference (words)", title=domain if domain != EVERY else "all reports")
        axes.set_aspect("equal", adjustable="datalim")  # a fixed box overflows the constrained layout
        axes.grid(color=FAINT, linewidth=0.6)
    panels[0].set_ylabel("generated (words)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3)
    sns.despine(figure)
    middle = table[(table["quantile"] == 0.5) & (table["domain"] == EVERY)]
    medians = ", ".join(f"{model} {g:g} words (references {r:g})" for model, r, g in middle[["model", x, y]].to_numpy())
    alt = f"Quantiles of generated against reference lengths, 5 to 95 per cent. Medians: {medians}"
    return Plot(name, title, alt, png(figure), csv=csv_text(COLUMNS, table.to_dict("records")))
