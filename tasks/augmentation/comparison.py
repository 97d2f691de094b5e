"""The answers of trained models as scores, and the comparison of the arms: gains, controls, what a generated pair is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.augmentation import settings as names
from tasks.augmentation.arms import Arm
from tasks.augmentation.settings import REPEATED
from tasks.augmentation.statistics import Crossed, Effect, Equivalence, Exchange
from tasks.downstream.contract import FindsLabels, Fitted, WritesReports
from tasks.generation.report import ReportGeneration
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.paired import holm
from tasks.protocols import Cases, Prediction
from tasks.scoring.context import Context
from tasks.scoring.findings import MACRO_F1, PER_SAMPLE_F1, Reading, finding_scores
from tasks.scoring.scores import Scored

BATCH = 64
PRIMARY = (MACRO_F1, "BLEU-4")  # the first that can be had is what arms are compared by


@dataclass(frozen=True)
class Answers:
    """Of N test cases: reports of a generator, or labels of a classifier."""

    reports: list[str] | None = None
    findings: list[frozenset[str]] | None = None

    def predictions(self, cases: Cases) -> list[Prediction]:
        """One for each case; labels as a text, for people."""
        texts = [", ".join(sorted(labels)) for labels in self.findings or []] if self.reports is None else self.reports
        return [Prediction(case.id, report=text) for case, text in zip(cases, texts, strict=True)]

    def as_lines(self, ids: Sequence[str]) -> dict[str, Any]:
        """JSON-able; `from_lines` reads it."""
        if self.reports is not None:
            return {"kind": "report", "ids": ids, "answers": self.reports}
        return {"kind": "findings", "ids": ids, "answers": [sorted(labels) for labels in self.findings or []]}

    @classmethod
    def from_lines(cls, lines: Mapping[str, Any]) -> "Answers":
        if lines["kind"] == "report":
            return cls(reports=list(lines["answers"]))
        return cls(findings=[frozenset(labels) for labels in lines["answers"]])


def answers_of(fitted: Fitted, cases: Cases, seeds: Sequence[int]) -> Answers:
    """What a trained model answers to the cases' images.
    Raises ValueError: it neither writes reports nor finds labels, or gives another number of answers."""
    reports: list[str] = []
    findings: list[frozenset[str]] = []
    for start in range(0, len(cases), BATCH):
        images = [case.image for case in cases[start : start + BATCH]]
        if isinstance(fitted, WritesReports):
            reports += fitted.generate_reports(images, seeds=list(seeds[start : start + BATCH]))
        elif isinstance(fitted, FindsLabels):
            findings += fitted.findings(images)
        else:
            raise ValueError(f"downstream model '{fitted.name}' has neither generate_reports() nor findings()")
    if len(reports) + len(findings) != len(cases):
        raise ValueError(f"downstream model '{fitted.name}' gave {len(reports) + len(findings)} answers to {len(cases)} images")
    return Answers(reports, None) if isinstance(fitted, WritesReports) else Answers(None, findings)


def score_answers(cases: Cases, answers: Answers, context: Context) -> Scored:
    """Scores that are functions of sums over patients, and per-sample scores."""
    if answers.findings is None:
        scores, samples = ReportGeneration().score(cases, answers.predictions(cases), context)
    else:
        scores, per_sample = finding_scores(cases, Reading(answers.findings, {"read_by": "the model itself"}), context, 1.0)
        samples = [{PER_SAMPLE_F1: value} for value in per_sample or []] or [{} for _ in cases]
    return [score for score in scores if score.higher_is_better is not None], samples


Sums = Mapping[str, Mapping[str, Sequence[Additive]]]  # by metric, by arm's name: one entry a seed


@dataclass(frozen=True)
class Comparison:
    primary: str  # the metric by which arms are compared
    # values, gains, relative: by metric and arm's name; gains over `real-repeated` in the metric's unit and in per cent
    values: dict[str, dict[str, Effect]]
    gains: dict[str, dict[str, Effect]]
    relative: dict[str, dict[str, Effect]]
    adjusted: dict[str, float]  # of the gains in the primary metric, p by arm, adjusted over the arms (Holm)
    # the real pairs offered as generated against `real-repeated`, in finding F1; None without that arm
    placebo: Equivalence | None
    shuffled: Effect | None  # the shuffled arm less `real+synthetic 100 %`, in the primary metric; None without both
    exchange: dict[str, Exchange]  # by arm's name, of `real+synthetic`, in the primary metric

    def as_json(self) -> dict[str, Any]:
        tables = {"values": self.values, "gains": self.gains, "relative_gains": self.relative}
        return {
            "primary": self.primary,
            "p_adjusted": self.adjusted,
            **{name: {metric: plain(by_arm) for metric, by_arm in table.items()} for name, table in tables.items()},
            **plain({"placebo": self.placebo, "shuffled_less_synthetic": self.shuffled}),
            "exchange": plain(self.exchange),
        }


def plain(found: Mapping[str, Effect | Equivalence | Exchange | None]) -> dict[str, Any]:
    """The fields of what was found, JSON-able: all but the spread of an estimate."""
    return {
        name: None if one is None else {field: value for field, value in vars(one).items() if field != "estimate"}
        for name, one in found.items()
    }


def compare(sums: Sums, arms: Sequence[Arm], added: Mapping[str, int], margin: float, seed: int) -> Comparison:
    """Compares the arms. `sums`: of those metrics that every arm and seed has. `added`: pairs added to the real ones, by arm's
    name. `margin`: of equivalence, in finding F1. `seed`: of resampling. Raises ValueError: no metric by which arms are
    compared."""
    primary = next((metric for name in PRIMARY for metric in sums if metric == name or metric.startswith(f"{name} (")), None)
    if primary is None:
        raise ValueError(f"none of {', '.join(PRIMARY)} among {', '.join(sums) or 'no metrics'}")
    crossed = {metric: Crossed(systems, seed) for metric, systems in sums.items()}
    others = [arm.name for arm in arms if arm.kind != REPEATED]
    values = {metric: {arm.name: one.value(arm.name) for arm in arms} for metric, one in crossed.items()}
    whole = {metric: one for metric, one in crossed.items() if ": " not in metric}
    gains = {metric: {name: one.difference(name, REPEATED) for name in others} for metric, one in whole.items()}
    relative = {metric: {name: one.relative(name, REPEATED) for name in others} for metric, one in whole.items()}
    tested = {name: effect.p for name, effect in gains[primary].items() if effect.p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    present = {arm.name for arm in arms}
    placebo = None
    if names.PLACEBO in present:
        if MACRO_F1 in crossed:
            placebo = crossed[MACRO_F1].equivalence(names.PLACEBO, REPEATED, margin)
        else:
            reason = "the margin is one of finding F1, which these data have not"
            placebo = Equivalence(gains[primary][names.PLACEBO].value, margin, reason=reason)
    full = Arm(names.SYNTHETIC, 100).name
    shuffled = crossed[primary].difference(names.SHUFFLED, full) if {names.SHUFFLED, full} <= present else None
    curve = {REPEATED: 0} | {arm.name: added[arm.name] for arm in arms if arm.kind == names.MORE_REAL}
    exchange = {
        arm.name: crossed[primary].exchange(arm.name, added[arm.name], curve) for arm in arms if arm.kind == names.SYNTHETIC
    }
    return Comparison(primary, values, gains, relative, adjusted, placebo, shuffled, exchange)
