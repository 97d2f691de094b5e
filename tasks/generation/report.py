"""Report generation: an image in, a report out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.baselines.anchors import anchors_of
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.captioning import CaptionScore, protocol_named
from tasks.metrics.text.ngrams import References
from tasks.metrics.text.report_form import distinct, distinct_n, distinct_share, length_sums, mean_length, repetition_sums
from tasks.protocols import Case, Generator, Prediction, Reconstructs
from tasks.scoring.clinical import clinical_scores
from tasks.scoring.context import Context
from tasks.scoring.findings import MACRO_F1, PER_SAMPLE_F1, Reading, finding_scores
from tasks.scoring.scores import Score, aligned, coverage_of, make_score, reports_of
from tasks.task import Anchor, Task, check_seeds, timed_batch


class ReportGeneration(Task):
    """Images to reports, scored against the reference text and by the findings that the report checker reads."""

    name = "report-generation"
    title = "Report generation"
    intro = "An image is given; the report is generated."
    needs = ("report",)
    headline_metrics = (MACRO_F1, "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
    order = 20

    def generate(self, generator: Generator, cases: Sequence[Case], seeds: Sequence[int]) -> list[Prediction]:
        """One report per case, from its image.

        Raises:
            UserError: the generator gave another number of reports.
        """
        check_seeds(cases, seeds)
        images = [case.image for case in cases]
        reports, cost = timed_batch(
            lambda: generator.generate_reports(images, seeds=list(seeds)), generator.name, "reports", len(cases), generator
        )
        return [Prediction(case.id, report=report, cost=cost) for case, report in zip(cases, reports, strict=True)]

    def anchors(
        self, cases: Sequence[Case], train: Sequence[Case], reconstructs: Reconstructs | None, seed: int
    ) -> list[Anchor]:
        """real, shuffled, constant, nearest neighbour (by image), training copy."""
        return anchors_of(cases, train, None, seed, images=False, reports=True)

    def score(
        self,
        cases: Sequence[Case],
        predictions: Sequence[Prediction],
        context: Context,
        population: Sequence[Case] | None = None,
    ) -> tuple[list[Score], list[dict[str, float]]]:
        """Scores and per-sample scores; a missing report scores as an empty one."""
        reports = reports_of(aligned(cases, predictions))
        coverage = coverage_of(reports)
        scores, sample_f1 = finding_scores(cases, Reading.of("report", reports, context), context, coverage)
        protocol = protocol_named(context.protocol)
        references = protocol.references([case.report for case in cases], context.references)
        tokens = protocol.tokens([report or "" for report in reports]).texts
        captions = protocol.score(references, reports, tokens)
        patients = [case.patient for case in cases]
        scores += [self._caption(caption, patients, coverage, context) for caption in captions]
        scores += clinical_scores(cases, reports, context)
        scores += self._form(reports, tokens, references, patients, coverage, context)
        samples: list[dict[str, float]] = [{} for _ in cases]
        for caption in captions:
            for sample, value in zip(samples, caption.per_sample, strict=False):  # empty where the metric is withheld
                sample[caption.metric] = float(value)
        for sample, f1 in zip(samples, sample_f1 or [], strict=False):
            sample[PER_SAMPLE_F1] = f1
        return scores, samples

    @staticmethod
    def _caption(caption: CaptionScore, patients: Sequence[str], coverage: float, context: Context) -> Score:
        return make_score(
            caption.metric, caption.value, context, len(patients), coverage, True, reason=caption.reason,
            additive=caption.additive(patients), **caption.details,
        )  # fmt: skip

    @staticmethod
    def _form(
        reports: Sequence[str | None],
        tokens: Sequence[str],
        references: References,
        patients: Sequence[str],
        coverage: float,
        context: Context,
    ) -> list[Score]:
        """Length, variety and repetition: descriptive, so that no value is better than another."""
        n = len(reports)
        how = {"tokenisation": references.tokenisation}

        def score(metric: str, value: float | None, **details: Any) -> Score:
            return make_score(metric, value, context, n, coverage, None, **details)

        def ratio(metric: str, sums: np.ndarray, reason: str, **details: Any) -> Score:
            if not sums[:, 1].sum():
                return score(metric, None, reason=reason, **details)
            additive = Additive(sums, tuple(patients), "mean")
            return score(metric, additive.value(), additive=additive, **details)

        return [
            score(
                "distinct reports", distinct_share(reports), compared="case and spacing apart",
                distinct_references=distinct(references.sources),
            ),
            score("distinct-1", distinct_n(tokens, 1), **how),
            score("distinct-2", distinct_n(tokens, 2), **how),
            score("mean length (tokens)", mean_length(tokens), **how),
            ratio("length ratio", length_sums(references.texts, tokens), "the references have no tokens", **how),
            ratio(
                "repeated 4-grams", repetition_sums(tokens), "no report has four tokens",
                counted="within each report, pooled", **how,
            ),
        ]  # fmt: skip
