"""Long reports: does a text of many sentences stay true to the image, and to itself, to its end? The same task for a model that
diffuses and for one that writes from the left: of two runs on the same data, `leaderboard build` makes the comparison."""

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
from tasks.protocols import Cases, Predictions
from tasks.scoring.context import Context
from tasks.scoring.findings import MACRO_F1, PER_SAMPLE_F1, Reading, checker_details, finding_scores, reference_findings
from tasks.scoring.scores import Score, Scored, Scorer, aligned, because, coverage_of, reports_of

CONTRADICTIONS, CONTRADICTED = "reports that contradict themselves", "contradicted findings"
REPEATED = "repeated sentences"
BY_QUARTER = "finding F1 in the {} quarter"


class LongForm(ReportGeneration):
    """Images to long reports, scored for contradictions, repetition, findings by where they are stated, and length."""

    name = "long-form"
    title = "Long reports"
    intro = "An image is given; its report is read for contradictions, repetition, length and order."
    headline_metrics = (MACRO_F1, BY_QUARTER.format("last"), CONTRADICTIONS, REPEATED, "length ratio", "length correlation")
    order = 60

    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Scores and per-sample scores; a missing report is an empty one."""
        return _Reading(cases, reports_of(aligned(cases, predictions)), context).all()


class _Reading:
    """The reports of one system beside their cases."""

    def __init__(self, cases: Cases, reports: Sequence[str | None], context: Context) -> None:
        self.cases, self.reports, self.context = cases, reports, context
        self.patients = tuple(case.patient for case in cases)
        self.score = Scorer(context, len(cases), coverage_of(reports))
        self.sentences = [sentences_of(report or "") for report in reports]
        protocol = protocol_named(context.protocol)
        self.references = protocol.references([case.report for case in cases], context.references)
        self.tokens = protocol.tokens([report or "" for report in reports]).texts
        self.how: dict[str, Any] = {"tokenisation": self.references.tokenisation}
        self.samples: list[dict[str, float]] = [{} for _ in cases]

    def all(self) -> Scored:
        """Every score, and the per-sample scores."""
        scores = [*self._findings(), *self._contradictions(), *self._repetition(), *self._length()]
        return scores, self.samples

    def _add(self, name: str, values: Iterable[float]) -> None:
        """Adds a per-sample score."""
        for sample, value in zip(self.samples, values, strict=True):
            sample[name] = float(value)

    def _findings(self) -> list[Score]:
        """Finding F1 of whole reports, and by quarter."""
        cases, context = self.cases, self.context
        whole = Reading.of("report", self.reports, context)
        scores, each = finding_scores(cases, whole, context, self.score.coverage)
        shown, source = reference_findings(cases, context)
        references = [sentences_of(case.report) for case in cases]
        texts = list(dict.fromkeys(text for side in (self.sentences, references) for one in side for text in one))
        sentences = whole if whole.found is None or shown is None else Reading.of("report", texts, context)
        quarters = {BY_QUARTER.format(name): True for name in QUARTERS}
        if sentences.found is None:
            return [*scores, *self.score.withheld(quarters, sentences.reason, **sentences.details)]
        if shown is None:
            return [*scores, *self.score.withheld(quarters, source)]
        if each is not None:
            self._add(PER_SAMPLE_F1, each)
        read = dict(zip(texts, sentences.found, strict=True))
        rows = zip(shown, references, self.sentences, strict=True)
        counts = np.stack(
            [quarter_counts(labels, [read[t] for t in theirs], [read[t] for t in ours]) for labels, theirs, ours in rows]
        )
        score = self.score.of(**sentences.details, reference_findings=source)
        missed = "told in that quarter of the reference, and nowhere in the report"
        for row, metric in enumerate(quarters):
            sums = counts[:, row]
            if sums.sum():
                scores.append(score(metric, Additive(sums, self.patients, "micro-f1"), True, missed=missed))
            else:
                scores.append(score(metric, None, True, "no finding is stated there, or missed"))
        return scores

    def _contradictions(self) -> list[Score]:
        """Reports, and labels spoken of, that one sentence asserts and another denies."""
        names = {CONTRADICTIONS: False, CONTRADICTED: False}
        checker = None if self.context.dataset is None else self.context.dataset.report_checker()
        if not isinstance(checker, ReadsStatements):
            return self.score.withheld(names, "the data set has no report checker that tells denials")
        try:
            with foreign(f"report checker '{checker.name}' failed"):
                states = [[checker.read(text) for text in one] for one in self.sentences]
        except UserError as error:
            return self.score.withheld(names, str(error), **because(error))
        each = [contradicted(one) for one in states]
        spoken = [len(frozenset().union(*one)) for one in states]
        self._add(CONTRADICTED, [len(labels) for labels in each])
        score = self.score.of(**checker_details("report", checker), between="sentences of one report")
        sums = np.array([(len(labels), count) for labels, count in zip(each, spoken, strict=True)], dtype=np.float64)
        return [
            score(CONTRADICTIONS, Additive.proportion([bool(labels) for labels in each], self.patients), False),
            score.ratio(CONTRADICTED, sums, self.patients, False, "no report speaks of a finding"),
        ]

    def _repetition(self) -> list[Score]:
        sums = np.array([repeated_sentences(report or "") for report in self.reports], dtype=np.float64)
        self._add(REPEATED, sums[:, 0])
        score, tokens, patients = self.score, self.tokens, self.patients
        pooled = {"counted": "within each report, pooled"}
        grams = repetition_sums(tokens)
        ended = [(report or "").rstrip().endswith((".", "!", "?")) for report in self.reports]
        return [
            score.ratio(REPEATED, sums, patients, False, "no report has a sentence", **pooled),
            score.ratio("repeated 4-grams", grams, patients, None, "no report has four tokens", **pooled, **self.how),
            score("distinct-1", distinct_n(tokens, 1), None, **self.how),
            score("distinct-2", distinct_n(tokens, 2), None, **self.how),
            score("reports that end with a stop", Additive.proportion(ended, patients), None),
        ]

    def _length(self) -> list[Score]:
        """How long reports are, and whether they are long where the reference is."""
        lengths = length_sums(self.references.texts, self.tokens)
        self._add("length (tokens)", lengths[:, 0])
        errors = np.stack([np.abs(lengths[:, 0] - lengths[:, 1]), lengths[:, 1]], axis=1)
        counts = np.array([(len(sentences), 1) for sentences in self.sentences], dtype=np.float64)
        moments = length_moments(lengths)
        together = None
        if np.isfinite(correlation(moments.sum(axis=0, keepdims=True))[0]):
            together = Additive(moments, self.patients, "length-correlation")
        score, patients, none = self.score, self.patients, "the references have no tokens"
        how = self.how | {"of": "sum of absolute differences over the references' tokens"}
        equal = "all lengths are equal" if together is None else None
        return [
            score.ratio("mean length (sentences)", counts, patients, None, none),
            score.ratio("length ratio", lengths, patients, None, none, **self.how),
            score.ratio("length error", errors, patients, False, none, **how),
            score("length correlation", together, True, equal, **self.how),
        ]
