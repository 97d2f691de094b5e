"""What an augmentation run leaves: records, `augmentation.json`, `.csv`, `.md` and the curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.augmentation.curve import draw_curve
from benchmark.augmentation.statements import markdown
from benchmark.augmentation.trainings import Result
from benchmark.run.predictions import ANCHOR_IMAGES, write_samples
from leaderboard.record import Record
from leaderboard.tables.ranking import MINIMUM_N
from medim.common.csv_text import csv_text
from medim.common.files import file_name, write_json, write_text
from tasks.augmentation.arms import Arm
from tasks.augmentation.comparison import Comparison, Sums
from tasks.augmentation.settings import ARMS, REPEATED, AugmentationSettings
from tasks.augmentation.statistics import METHOD, Effect
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Case
from tasks.scoring.findings import MACRO_F1

JSON, CSV, MARKDOWN, PLOT = "augmentation.json", "augmentation.csv", "augmentation.md", "curve.png"
GAIN, RELATIVE = "gain over real-repeated", "relative gain over real-repeated in per cent"
EXCHANGE, PLACEBO_P = "real pairs that a generated one is worth", "p of two one-sided tests"


@dataclass(frozen=True)
class Identity:
    """What every record of a run says.

    Attributes:
        task: `augmentation (REGIME)`: two regimes never share a table.
        fields: of `leaderboard.record.Record`: dataset, split, seed, protocol, commit, command, created, synthetic, run.
        signature: what is the same for every arm: regime, downstream, seeds, splits, generated set.
        of_the_system: of the generator: its hash, sampler and training.
    """

    task: str
    model: str
    fields: dict[str, Any]
    signature: dict[str, Any]
    of_the_system: dict[str, Any]


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
    note = smoke(len(results[0].samples), identity.fields["synthetic"])
    records = []
    for name, first in firsts.items():
        make = _Maker(first, identity, note)
        for metric, effects in comparison.values.items():
            score = first.scores[metric]
            coverage = min(result.scores[metric]["coverage"] for result in results if result.arm.name == name)
            records.append(make(metric, effects[name], score["higher_is_better"], score["signature"], score["n"], coverage))
        for metric, score in first.scores.items():  # withheld for the first seed, hence for a reason that all share
            if score["value"] is None:
                whole = score["signature"], score["n"], score["coverage"], score["reason"]
                records.append(make(metric, None, score["higher_is_better"], *whole))
        if first.arm.kind == REPEATED:
            continue
        for title, table in ((GAIN, comparison.gains), (RELATIVE, comparison.relative)):
            for metric, effects in table.items():
                records.append(make(f"{title}: {metric}", effects[name], True, {}, first.scores[metric]["n"], 1.0))
        primary = first.scores[comparison.primary]
        if name in comparison.exchange:
            exchange = comparison.exchange[name]
            effect = None if exchange.rate is None else Effect(exchange.rate, exchange.low, exchange.high)
            records.append(make(EXCHANGE, effect, True, {"metric_of": comparison.primary}, primary["n"], 1.0, exchange.reason))
        if first.arm.kind == "real-as-synthetic" and comparison.placebo is not None:
            placebo = comparison.placebo
            effect = None if placebo.p is None else Effect(placebo.p)
            details = {"null": f"differs from real-repeated by {placebo.margin:g} finding F1 or more", "margin": placebo.margin}
            n = first.scores.get(MACRO_F1, primary)["n"]
            records.append(make(PLACEBO_P, effect, None, details, n, 1.0, placebo.reason))
    return records


@dataclass(frozen=True)
class _Maker:
    first: Result
    identity: Identity
    note: str | None

    def __call__(
        self, metric: str, effect: Effect | None, higher: bool | None, details: Mapping[str, Any], n: int,
        coverage: float, reason: str | None = None,
    ) -> Record:  # fmt: skip
        arm, one = self.first.arm, self.identity
        finite = effect is not None and effect.value == effect.value
        signature = {key: value for key, value in details.items() if key not in ("statistics", "interval")}
        signature = {"metric": metric} | signature | one.signature
        settings = {"arm": arm.name, "what": ARMS[arm.kind], **self.first.told}
        settings.pop("seconds", None)
        settings.pop("fitted", None)
        signature["settings"] = settings | (one.of_the_system if arm.depends_on_generator else {})
        if effect is not None and effect.low is not None:
            signature["interval"] = f"95 %, {METHOD}"
        value = effect.value if effect is not None and finite else None
        why = (effect.reason if effect is not None else None) or reason
        return Record(
            task=one.task, model=row_of(arm, one.model), metric=metric, value=value,
            ci_low=effect.low if effect is not None and finite else None,
            ci_high=effect.high if effect is not None and finite else None,
            n=n, coverage=coverage, signature=signature, kind="measured" if arm.generated else "anchor",
            reason=self.note if value is not None and self.note else why or (None if finite else "undefined"),
            higher_is_better=higher, **one.fields,
        )  # fmt: skip


def write_results(
    out: Path, results: Sequence[Result], arms: Sequence[Arm], comparison: Comparison, told: Mapping[str, Any],
    settings: AugmentationSettings, cases: Sequence[Case], task: str, show: bool,
) -> None:  # fmt: skip
    """Writes the files beside the records, and the first seed's reports as samples (withheld unless `show`)."""
    by_seed = {
        metric: {
            name: {str(result.seed): result.scores[metric]["value"] for result in results if result.arm.name == name}
            for name in dict.fromkeys(result.arm.name for result in results)
        }
        for metric in comparison.values
    }
    numbers = {result.arm.name: result.told for result in results}
    value = {**told, "comparison": comparison.told(), "by_seed": by_seed, "arms": numbers, "margin": settings.margin}
    write_json(out / JSON, value)
    write_text(out / CSV, _csv(arms, comparison, numbers, told))
    write_text(out / MARKDOWN, markdown(arms, comparison, numbers, told, settings))
    title = f"{told['downstream']} on {told['dataset']}, generator {told['model']} ({told['regime']})"
    seeds = f"{len(settings.seeds)} seed{'s' if len(settings.seeds) > 1 else ''}"
    note = f"{seeds}, {told['real_pairs']} real pairs, {told['test_cases']} test cases; 95 % bands"
    draw_curve(out / PLOT, comparison.primary, arms, comparison.values[comparison.primary], title, note)
    first = settings.seeds[0]
    for result in results:
        if result.seed == first and show:
            folder = out / "samples" / task / file_name(row_of(result.arm, told["model"]))
            answers = result.answers.predictions(cases)
            write_samples(folder, cases, answers, result.samples, paired=True, images=ANCHOR_IMAGES)


def _csv(arms: Sequence[Arm], comparison: Comparison, numbers: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    columns = [
        "regime", "model", "downstream", "dataset", "arm", "level", "examples", "added", "steps", "seeds", "metric", "value",
        "ci_low", "ci_high", "gain", "gain_low", "gain_high", "p", "p_adjusted", "relative_gain",
        "relative_low", "relative_high",
    ]  # fmt: skip
    rows = []
    for metric, effects in comparison.values.items():
        for arm in arms:
            number, value = numbers[arm.name], effects[arm.name]
            gain = comparison.gains.get(metric, {}).get(arm.name)
            relative = comparison.relative.get(metric, {}).get(arm.name)
            adjusted = comparison.adjusted.get(arm.name) if metric == comparison.primary else None
            rows.append([
                told["regime"], told["model"], told["downstream"], told["dataset"], arm.name, arm.level, number["examples"],
                number["added"], number["steps"], len(told["seeds"]), metric, *_ends(value), *_ends(gain),
                None if gain is None else gain.p, adjusted, *_ends(relative),
            ])  # fmt: skip
    return csv_text(columns, (dict(zip(columns, row, strict=True)) for row in rows))


def _ends(effect: Effect | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if effect is None else (effect.value, effect.low, effect.high)
