"""The figures of a sweep of samplers as files: JSON, CSV and the picture of quality against compute."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from benchmark.speed.sample_scores import HEADLINES
from leaderboard.plots.style import DPI, FAINT, GREY, INK, MODEL_COLOURS, STYLE
from medim.common.csv_text import csv_text
from medim.common.files import atomic_path, write_json, write_text
from tasks.protocols import Case

FIGURES, TABLE, PARETO = "sample_speed.json", "sample_speed.csv", "pareto.png"
Row = Mapping[str, Any]


def frontier(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of (cost, worth) nothing beats: none costs as little and is worth more, or less and is worth as much."""
    return [not any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points) for cost, worth in points]


def write_results(out: Path, rows: Sequence[Row], cases: Sequence[Case], about: Mapping[str, Any]) -> None:
    """Writes `sample_speed.json`, `sample_speed.csv` and, where a task has scores, `pareto.png` into `out`."""
    domains = Counter(case.domain for case in cases if case.domain is not None)
    shares = {domain: count / len(cases) for domain, count in sorted(domains.items())}
    table = [line for task in HEADLINES for line in _lines(task, rows, shares)]
    write_json(out / FIGURES, {**about, "domains_of_data": shares, "samplers": list(rows)})
    columns = list(dict.fromkeys(key for line in table for key in line))
    write_text(out / TABLE, csv_text(columns, table))
    drawn = {
        task: points
        for task in HEADLINES
        if (points := [line for line in table if line["task"] == task and line["score"] != ""])
    }
    (out / PARETO).unlink(missing_ok=True)
    if drawn:
        _picture(out / PARETO, drawn, str(about.get("title", "")))


def _lines(task: str, rows: Sequence[Row], shares: Mapping[str, float]) -> list[dict[str, Any]]:
    found = [(row, row["tasks"][task]) for row in rows if task in row["tasks"]]
    scored = [(row["name"], part) for row, part in found if part["scores"][HEADLINES[task]]["value"] is not None]
    points = [(part["speed"]["flops_per_sample"], part["scores"][HEADLINES[task]]["value"]) for _, part in scored]
    best = {name for (name, _), one in zip(scored, frontier(points), strict=True) if one}
    lines = []
    for row, part in found:
        score = part["scores"][HEADLINES[task]]
        line = {
            "sampler": row["name"], "task": task, "metric": HEADLINES[task], "score": _cell(score["value"]),
            "ci_low": _cell(score["low"]), "ci_high": _cell(score["high"]), "on_frontier": row["name"] in best,
            **part["speed"],
        }  # fmt: skip
        if task == "joint-generation":
            for metric in ("finding MCC", "max prevalence error", "max domain share error"):
                line[metric] = _cell(part["scores"].get(metric, {}).get("value"))
            for domain, share in shares.items():
                drawn = part["scores"].get(f"domain share: {domain} (image)", {}).get("value")
                line |= {f"{domain} share": _cell(drawn), f"{domain} share of the data": share}
        lines.append(line | {"settings": json.dumps(row["settings"], sort_keys=True)})
    return lines


def _cell(value: float | None) -> float | str:
    return "" if value is None else value


def _picture(path: Path, drawn: Mapping[str, Sequence[Row]], title: str) -> None:
    """One panel a task: worth against FLOPs, the frontier drawn, every point named."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6 * len(drawn), 5.2))
        figure.set_layout_engine(ConstrainedLayoutEngine())
        for axes, (task, lines) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
            best = sorted((line for line in lines if line["on_frontier"]), key=lambda line: line["flops_per_sample"])
            x, y = ([line[key] / scale for line in best] for key, scale in (("flops_per_sample", 1e9), ("score", 1)))
            axes.plot(x, y, color=MODEL_COLOURS[0], linewidth=1.2, zorder=1, label="frontier")
            for line in lines:
                on, at = line["on_frontier"], line["flops_per_sample"] / 1e9
                if line["ci_low"] != "":
                    axes.plot([at, at], [line["ci_low"], line["ci_high"]], color=FAINT, linewidth=1, zorder=0)
                axes.plot(at, line["score"], "o", color=MODEL_COLOURS[0] if on else GREY, markersize=5, zorder=2)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
            axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
            axes.margins(x=0.12)
            axes.set_xlim(right=1.3 * axes.get_xlim()[1])  # names stand to the right of their points
            axes.set_xlabel("denoiser's GFLOP a sample")
            axes.set_ylabel(f"{HEADLINES[task]} (95 % interval)")
            axes.set_title(task)
            axes.legend(loc="lower right")
            figure.draw_without_rendering()  # names go where the points will lie
            _name(axes, lines)
        figure.suptitle(title)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)


def _name(axes: Axes, lines: Sequence[Row]) -> None:
    """Writes each sampler's name to the right of its point, above the names that it would cover."""
    width, height, gap = 4.2, 9.0, 6.0  # of a letter and a line, and from the point; in points
    scale = 72 / axes.figure.dpi
    taken: list[tuple[float, float, float]] = []  # left, right, bottom
    for line in sorted(lines, key=lambda line: line["score"]):
        place = (line["flops_per_sample"] / 1e9, line["score"])
        x, y = axes.transData.transform(place) * scale
        left, right, bottom = x + gap, x + gap + width * len(line["sampler"]), y - height / 2
        for low, high, other in sorted(taken, key=lambda box: box[2]):
            if left < high and low < right and abs(other - bottom) < height:
                bottom = other + height
        taken.append((left, right, bottom))
        axes.annotate(
            line["sampler"], place, xytext=(gap, bottom - y), textcoords="offset points", fontsize=7,
            color=INK if line["on_frontier"] else GREY,
        )  # fmt: skip
