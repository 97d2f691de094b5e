"""What an augmentation run leaves: records, `augmentation.json`, `.csv`, `.md` and the curve."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.augmentation.statements import markdown
from benchmark.augmentation.trainings import Result
from benchmark.run.predictions import ANCHOR_IMAGES, write_samples
from leaderboard.plots.style import DPI, FAINT, GREY, INK, MODEL_COLOURS, STYLE
from leaderboard.record import Record
from leaderboard.tables.ranking import MINIMUM_N
from medim.common.csv_text import csv_text
from medim.common.files import atomic_path, file_name, write_json, write_text
from tasks.augmentation.arms import Arm
from tasks.augmentation.comparison import Comparison, Sums
from tasks.augmentation.settings import ARMS, MORE_REAL, PLACEBO, REPEATED, SYNTHETIC, AugmentationSettings
from tasks.augmentation.statistics import METHOD, Effect
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Cases
from tasks.scoring.findings import MACRO_F1

JSON, CSV, MARKDOWN, PLOT = "augmentation.json", "augmentation.csv", "augmentation.md", "curve.png"
GAIN, RELATIVE = "gain over real-repeated", "relative gain over real-repeated in per cent"
EXCHANGE, PLACEBO_P = "real pairs that a generated one is worth", "p of two one-sided tests"
HIGHER = {"higher_is_better": True}
COLUMNS = (
    *("regime", "model", "downstream", "dataset", "arm", "level", "examples", "added", "steps", "seeds", "metric", "value"),
    *("ci_low", "ci_high", "gain", "gain_low", "gain_high", "p", "p_adjusted"),
    *("relative_gain", "relative_low", "relative_high"),
)
CURVES = (SYNTHETIC, MORE_REAL)  # arms that have levels; the others are single points beside the curves


@dataclass(frozen=True)
class Identity:
    """What every record of a run holds."""

    task: str  # `augmentation (REGIME)`: two regimes never share a table
    model: str
    # of `leaderboard.record.Record`: dataset, split, seed, protocol, commit, command, created, synthetic, run
    fields: dict[str, Any]
    signature: dict[str, Any]  # what is the same for every arm: regime, downstream, seeds, splits, generated set
    of_the_system: dict[str, Any]  # of the generator: its hash, sampler and training


def sums_of(results: Sequence[Result]) -> Sums:
    """The sums of those metrics that every arm and seed has, in the metrics' order."""
    shared = [metric for metric in results[0].sums if all(metric in result.sums for result in results)]
    table: dict[str, dict[str, list[Additive]]] = {metric: {} for metric in shared}
    for result in results:
        for metric in shared:
            table[metric].setdefault(result.arm.name, []).append(result.sums[metric])
    return table


def row_of(arm: Arm, model: str) -> str:
    """What an arm's row is called: an arm with generated pairs names their model."""
    return f"{model}: {arm.name}" if arm.generated else arm.name


def smoke(cases: int, synthetic: bool) -> str | None:
    """What a reader must know of a small real set; None of any other."""
    if synthetic or cases >= MINIMUM_N:
        return None
    return f"smoke: {cases} test cases show that the protocol runs, not what a generator is worth"


def records_of(results: Sequence[Result], comparison: Comparison, identity: Identity) -> list[Record]:
    """One row an arm: values with intervals over patients and seeds, gains over `real-repeated`, exchange rate, placebo."""
    firsts: dict[str, Result] = {}
    for result in results:
        firsts.setdefault(result.arm.name, result)
    records = []
    for name, first in firsts.items():
        record = partial(_record, first, identity)
        for metric, effects in comparison.values.items():
            score = first.scores[metric]
            coverage = min(result.scores[metric]["coverage"] for result in results if result.arm.name == name)
            records.append(record(metric, effects[name], score, coverage, score["signature"]))
        for metric, score in first.scores.items():  # withheld for the first seed, hence for a reason that all share
            if score["value"] is None:
                records.append(record(metric, None, score, score["coverage"], score["signature"], score["reason"]))
        if first.arm.kind == REPEATED:
            continue
        for title, table in ((GAIN, comparison.gains), (RELATIVE, comparison.relative)):
            for metric, effects in table.items():
                records.append(record(f"{title}: {metric}", effects[name], first.scores[metric] | HIGHER))
        primary = first.scores[comparison.primary] | HIGHER
        if name in comparison.exchange:
            exchange = comparison.exchange[name]
            effect = None if exchange.rate is None else Effect(exchange.rate, exchange.low, exchange.high)
            metric_of = {"metric_of": comparison.primary}
            records.append(record(EXCHANGE, effect, primary, details=metric_of, reason=exchange.reason))
        if first.arm.kind == PLACEBO and comparison.placebo is not None:
            placebo = comparison.placebo
            effect = None if placebo.p is None else Effect(placebo.p)
            details = {"null": f"differs from real-repeated by {placebo.margin:g} finding F1 or more", "margin": placebo.margin}
            score = first.scores.get(MACRO_F1, primary) | {"higher_is_better": None}
            records.append(record(PLACEBO_P, effect, score, details=details, reason=placebo.reason))
    return records


def _record(
    first: Result,
    identity: Identity,
    metric: str,
    effect: Effect | None,
    score: Mapping[str, Any],
    coverage: float = 1.0,
    details: Mapping[str, Any] = MappingProxyType({}),
    reason: str | None = None,
) -> Record:
    """A record of an arm; `score` holds the number of cases and which direction is better."""
    arm = first.arm
    known = effect if effect is not None and math.isfinite(effect.value) else None
    kept = {key: value for key, value in details.items() if key not in ("statistics", "interval")}
    settings = {"arm": arm.name, "what": ARMS[arm.kind], **first.training}
    settings = {key: value for key, value in settings.items() if key not in ("seconds", "fitted")}
    signature = {"metric": metric} | kept | identity.signature
    signature["settings"] = settings | (identity.of_the_system if arm.depends_on_generator else {})
    if effect is not None and effect.low is not None:
        signature["interval"] = f"95 %, {METHOD}"
    note = smoke(len(first.samples), identity.fields["synthetic"])
    why = (effect.reason if effect is not None else None) or reason
    return Record(
        task=identity.task,
        model=row_of(arm, identity.model),
        metric=metric,
        value=None if known is None else known.value,
        ci_low=None if known is None else known.low,
        ci_high=None if known is None else known.high,
        n=score["n"],
        coverage=coverage,
        signature=signature,
        kind="measured" if arm.generated else "anchor",
        reason=(note or why) if known is not None else why or "undefined",
        higher_is_better=score["higher_is_better"],
        **identity.fields,
    )


def write_results(
    out: Path,
    results: Sequence[Result],
    arms: Sequence[Arm],
    comparison: Comparison,
    setting: Mapping[str, Any],
    settings: AugmentationSettings,
    cases: Cases,
    task: str,
    show: bool,
) -> None:
    """Writes the files beside the records, and the first seed's reports as samples (withheld unless `show`)."""
    by_seed: dict[str, dict[str, dict[str, Any]]] = {metric: {} for metric in comparison.values}
    for result in results:
        for metric, by_arm in by_seed.items():
            by_arm.setdefault(result.arm.name, {})[str(result.seed)] = result.scores[metric]["value"]
    numbers = {result.arm.name: result.training for result in results}
    found = {"comparison": comparison.as_json(), "by_seed": by_seed, "arms": numbers, "margin": settings.margin}
    write_json(out / JSON, {**setting, **found})
    write_text(out / CSV, _csv(arms, comparison, numbers, setting))
    write_text(out / MARKDOWN, markdown(arms, comparison, numbers, setting, settings))
    title = f"{setting['downstream']} on {setting['dataset']}, generator {setting['model']} ({setting['regime']})"
    seeds = f"{len(settings.seeds)} seed{'s' if len(settings.seeds) > 1 else ''}"
    note = f"{seeds}, {setting['real_pairs']} real pairs, {setting['test_cases']} test cases; 95 % bands"
    draw_curve(out / PLOT, comparison.primary, arms, comparison.values[comparison.primary], f"{title}\n{note}")
    for result in results:
        if result.seed == settings.seeds[0] and show:
            folder = out / "samples" / task / file_name(row_of(result.arm, setting["model"]))
            answers = result.answers.predictions(cases)
            write_samples(folder, cases, answers, result.samples, paired=True, images=ANCHOR_IMAGES)


def _csv(arms: Sequence[Arm], comparison: Comparison, numbers: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    shared = {name: setting[name] for name in ("regime", "model", "downstream", "dataset")} | {"seeds": len(setting["seeds"])}
    rows = []
    for metric, effects in comparison.values.items():
        for arm in arms:
            number = {name: numbers[arm.name][name] for name in ("examples", "added", "steps")}
            row: dict[str, Any] = {**shared, "arm": arm.name, "level": arm.level, **number, "metric": metric}
            gain = comparison.gains.get(metric, {}).get(arm.name)
            relative = comparison.relative.get(metric, {}).get(arm.name)
            columns = (
                (effects[arm.name], ("value", "ci_low", "ci_high")),
                (gain, ("gain", "gain_low", "gain_high")),
                (relative, ("relative_gain", "relative_low", "relative_high")),
            )
            for effect, names in columns:
                if effect is not None:
                    row |= dict(zip(names, (effect.value, effect.low, effect.high), strict=True))
            row["p"] = None if gain is None else gain.p
            if metric == comparison.primary:
                row["p_adjusted"] = comparison.adjusted.get(arm.name)
            rows.append(row)
    return csv_text(COLUMNS, rows)


def draw_curve(path: Path, metric: str, arms: Sequence[Arm], values: Mapping[str, Effect], title: str) -> None:
    """Draws one metric over the share of pairs added, generated beside real ones, with 95 % bands; `values` by arm's name."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        start = values[REPEATED]
        levels = sorted({0, *(arm.level for arm in arms if arm.kind in CURVES and arm.level is not None)})
        place = {level: index for index, level in enumerate(levels)}
        axes.axhline(start.value, color=GREY, linewidth=1, linestyle="--", zorder=1)
        for colour, marker, kind, label in (
            (MODEL_COLOURS[0], "o", SYNTHETIC, "real + generated"),
            (MODEL_COLOURS[2], "s", MORE_REAL, "real + further real"),
        ):
            points = [(0, start), *((place[arm.level or 0], values[arm.name]) for arm in arms if arm.kind == kind)]
            if len(points) > 1:
                _line(axes, points, colour, marker, label)
        singles = {len(levels) + 0.5 + index: arm for index, arm in enumerate(arm for arm in arms if arm.kind not in CURVES)}
        for x, arm in singles.items():
            effect = values[arm.name]
            colour = GREY if arm.kind == REPEATED else INK
            if effect.low is not None and effect.high is not None:
                axes.vlines(x, effect.low, effect.high, color=colour, linewidth=1.8, alpha=0.5)
            axes.plot(x, effect.value, marker="D", color=colour, markersize=5, linestyle="none")
        ticks = [f"{level} %" for level in levels] + [arm.name for arm in singles.values()]
        axes.set_xticks([*place.values(), *singles], ticks, rotation=35, ha="right", rotation_mode="anchor")
        axes.set(xlabel="pairs added, in per cent of the real ones; other arms", ylabel=metric)
        axes.set_title(title, fontsize=9)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.tick_params(length=0, colors=INK)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="lower left")
        sns.despine(ax=axes, left=True)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)


def _line(axes: Axes, points: Sequence[tuple[int, Effect]], colour: str, marker: str, label: str) -> None:
    points = sorted(points, key=lambda point: point[0])
    xs = [x for x, _ in points]
    axes.plot(xs, [effect.value for _, effect in points], marker=marker, color=colour, linewidth=2, label=label, zorder=3)
    if all(effect.low is not None and effect.high is not None for _, effect in points):
        lows, highs = [effect.low for _, effect in points], [effect.high for _, effect in points]
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.15, linewidth=0)  # type: ignore[arg-type]
