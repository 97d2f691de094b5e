"""What a trained downstream model gives for the test cases, and its scores: of reports by text and findings, of labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.downstream.contract import FindsLabels, Fitted, WritesReports
from tasks.generation.report import ReportGeneration
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
