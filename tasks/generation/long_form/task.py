"""Long reports: does a text of many sentences stay true to the image, and to itself, to its end?

The same task for a model that diffuses and for one that writes from the left: of two runs on the same data, `leaderboard build`
makes the comparison.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from medim.common.errors import UserError, foreign
from tasks.generation.long_form.reading import (
    QUARTERS,
    ReadsStatements,
    contradicted,
    correlation,
    length_moments,
    quarter_counts,
    repeated_sentences,
    sentences_of,
)
from tasks.generation.report import ReportGeneration
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.captioning import protocol_named
from tasks.metrics.text.report_form import distinct_n, length_sums, repetition_sums
from tasks.protocols import Case, Prediction
from tasks.scoring.context import Context
from tasks.scoring.findings import MACRO_F1, PER_SAMPLE_F1, Reading, checker_details, finding_scores, reference_findings
from tasks.scoring.scores import Score, aligned, because, coverage_of, make_score, reports_of

CONTRADICTIONS = "reports that contradict themselves"
REPEATED = "repeated sentences"
BY_QUARTER = "finding F1 in the {} quarter"


class LongForm(ReportGeneration):
    """Images to long reports, scored for contradictions, repetition, findings by where they are told, and length."""

    name = "long-form"
    title = "Long reports"
    intro = "An image is given; its report is read for contradictions, repetition, length and order."
    headline_metrics = (
        MACRO_F1,
        BY_QUARTER.format("last"),
        CONTRADICTIONS,
        REPEATED,
        "length ratio",
        "length correlation",
    )
    order = 60

    def score(
        self,
        cases: Sequence[Case],
        predictions: Sequence[Prediction],
        context: Context,
        population: Sequence[Case] | None = None,
    ) -> tuple[list[Score], list[dict[str, float]]]:
        """Scores and per-sample scores; a missing report is an empty one."""
        return _Reading(cases, reports_of(aligned(cases, predictions)), context).all()


class _Reading:
    """The reports of one system beside their cases."""

    def __init__(self, cases: Sequence[Case], reports: Sequence[str | None], context: Context) -> None:
        self.cases, self.reports, self.context = cases, reports, context
        self.patients = tuple(case.patient for case in cases)
        self.coverage = coverage_of(reports)
        self.sentences = [sentences_of(report or "") for report in reports]
        protocol = protocol_named(context.protocol)
        self.references = protocol.references([case.report for case in cases], context.references)
        self.tokens = protocol.tokens([report or "" for report in reports]).texts
        self.how = {"tokenisation": self.references.tokenisation}
        self.samples: list[dict[str, float]] = [{} for _ in cases]

    def all(self) -> tuple[list[Score], list[dict[str, float]]]:
        """Every score, and what is told of each sample."""
        scores = [*self._findings(), *self._contradictions(), *self._repetition(), *self._length()]
        return scores, self.samples

    def _score(self, metric: str, value: float | None, better: bool | None, **details: Any) -> Score:
        return make_score(metric, value, self.context, len(self.cases), self.coverage, better, **details)

    def _ratio(self, metric: str, sums: np.ndarray, better: bool | None, reason: str, **details: Any) -> Score:
        """Sum of the first column over that of the second; (N, 2)."""
        if not sums[:, 1].sum():
            return self._score(metric, None, better, reason=reason, **details)
        additive = Additive(sums, self.patients, "mean")
        return self._score(metric, additive.value(), better, additive=additive, **details)

    def _tell(self, name: str, values: Iterable[float]) -> None:
        for sample, value in zip(self.samples, values, strict=True):
            sample[name] = float(value)

    def _findings(self) -> list[Score]:
        """Finding F1 of whole reports, and by quarter."""
        cases, context = self.cases, self.context
        whole = Reading.of("report", self.reports, context)
        scores, each = finding_scores(cases, whole, context, self.coverage)
        shown, source = reference_findings(cases, context)
        references = [sentences_of(case.report) for case in cases]
        texts = list(dict.fromkeys(text for side in (self.sentences, references) for one in side for text in one))
        sentences = whole if whole.found is None or shown is None else Reading.of("report", texts, context)
        if sentences.found is None or shown is None:
            reason, why = (sentences.reason, sentences.details) if sentences.found is None else (source, {})
            return [*scores, *(self._score(BY_QUARTER.format(name), None, True, reason=reason, **why) for name in QUARTERS)]
        details = sentences.details
        if each is not None:
            self._tell(PER_SAMPLE_F1, each)
        read = dict(zip(texts, sentences.found, strict=True))
        counts = np.stack([
            quarter_counts(labels, [read[text] for text in theirs], [read[text] for text in ours])
            for labels, theirs, ours in zip(shown, references, self.sentences, strict=True)
        ])  # fmt: skip
        for row, name in enumerate(QUARTERS):
            sums = counts[:, row]
            metric, more = BY_QUARTER.format(name), details | {"reference_findings": source}
            if not sums.sum():
                scores.append(self._score(metric, None, True, reason="no finding is told there, or missed", **more))
                continue
            additive = Additive(sums, self.patients, "micro-f1")
            scores.append(
                self._score(
                    metric, additive.value(), True, additive=additive, **more,
                    missed="told in that quarter of the reference, and nowhere in the report",
                )
            )  # fmt: skip
        return scores

    def _contradictions(self) -> list[Score]:
        """Reports, and labels spoken of, that one sentence asserts and another denies."""
        names = (CONTRADICTIONS, "contradicted findings")
        checker = None if self.context.dataset is None else self.context.dataset.report_checker()
        if not isinstance(checker, ReadsStatements):
            reason = "the data set has no report checker that tells denials"
            return [self._score(name, None, False, reason=reason) for name in names]
        try:
            with foreign(f"report checker '{checker.name}' failed"):
                told = [[checker.read(text) for text in one] for one in self.sentences]
        except UserError as error:
            return [self._score(name, None, False, reason=str(error), **because(error)) for name in names]
        each = [contradicted(states) for states in told]
        spoken = [len(frozenset().union(*states)) for states in told]
        self._tell("contradicted findings", [len(labels) for labels in each])
        details = {**checker_details("report", checker), "between": "sentences of one report"}
        reports = Additive.proportion([bool(labels) for labels in each], self.patients)
        sums = np.array([(len(labels), count) for labels, count in zip(each, spoken, strict=True)], dtype=np.float64)
        return [
            self._score(names[0], reports.value(), False, additive=reports, **details),
            self._ratio(names[1], sums, False, "no report speaks of a finding", **details),
        ]

    def _repetition(self) -> list[Score]:
        sums = np.array([repeated_sentences(report or "") for report in self.reports], dtype=np.float64)
        self._tell(REPEATED, sums[:, 0])
        tokens, how = self.tokens, self.how
        ended = Additive.proportion(
            [(report or "").rstrip().endswith((".", "!", "?")) for report in self.reports], self.patients
        )
        return [
            self._ratio(REPEATED, sums, False, "no report has a sentence", counted="within each report, pooled"),
            self._ratio("repeated 4-grams", repetition_sums(tokens), None, "no report has four tokens",
                        counted="within each report, pooled", **how),
            self._score("distinct-1", distinct_n(tokens, 1), None, **how),
            self._score("distinct-2", distinct_n(tokens, 2), None, **how),
            self._score("reports that end with a stop", ended.value(), None, additive=ended),
        ]  # fmt: skip

    def _length(self) -> list[Score]:
        """How long reports are, and whether they are long where the reference is."""
        how = self.how
        lengths = length_sums(self.references.texts, self.tokens)
        self._tell("length (tokens)", lengths[:, 0])
        errors = np.stack([np.abs(lengths[:, 0] - lengths[:, 1]), lengths[:, 1]], axis=1)
        moments = length_moments(lengths)
        r = float(correlation(moments.sum(axis=0, keepdims=True))[0])
        none = "the references have no tokens"
        together = {"reason": "all lengths are equal"} if np.isnan(r) else {
            "additive": Additive(moments, tuple(self.patients), "length-correlation")
        }  # fmt: skip
        counts = np.array([(len(sentences), 1) for sentences in self.sentences], dtype=np.float64)
        return [
            self._ratio("mean length (sentences)", counts, None, none),
            self._ratio("length ratio", lengths, None, none, **how),
            self._ratio(
                "length error", errors, False, none, of="sum of absolute differences over the references' tokens", **how
            ),
            self._score("length correlation", None if np.isnan(r) else r, True, **together, **how),
        ]
