"""Report generation: an image in, a report out."""

from collections.abc import Sequence
from typing import Any, ClassVar

from tasks.baselines.anchors import anchors_of
from tasks.metrics.text.captioning import protocol_named
from tasks.metrics.text.ngrams import References
from tasks.metrics.text.report_form import distinct, distinct_n, distinct_share, length_sums, mean_length, repetition_sums
from tasks.protocols import Cases, Generator, Prediction, Predictions, Reconstructs
from tasks.scoring.clinical import clinical_scores
from tasks.scoring.context import Context
from tasks.scoring.encoders import encoder_scores
from tasks.scoring.findings import MACRO_F1, PER_SAMPLE_F1, Reading, finding_scores
from tasks.scoring.scores import Score, Scored, Scorer, aligned, coverage_of, reports_of
from tasks.task import Anchor, Task, check_seeds, timed_batch


class ReportGeneration(Task):
    """Images to reports, scored against the reference text and by the findings that the report checker reads."""

    name = "report-generation"
    title = "Report generation"
    intro = "An image is given; the report is generated."
    needs = ("report",)
    headline_metrics: ClassVar[tuple[str, ...]] = (MACRO_F1, "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
    order = 20

    def generate(self, generator: Generator, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """One report per case, from its image. Raises UserError: the generator gave another number of reports."""
        check_seeds(cases, seeds)
        images = [case.image for case in cases]
        reports, cost = timed_batch(
            lambda: generator.generate_reports(images, seeds=list(seeds)), generator.name, "reports", len(cases), generator
        )
        return [Prediction(case.id, report=report, cost=cost) for case, report in zip(cases, reports, strict=True)]

    def anchors(self, cases: Cases, train: Cases, reconstructs: Reconstructs | None, seed: int) -> list[Anchor]:
        """real, shuffled, constant, nearest neighbour (by image), training copy."""
        return anchors_of(cases, train, None, seed, images=False, reports=True)

    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Scores and per-sample scores; a missing report scores as an empty one."""
        reports = reports_of(aligned(cases, predictions))
        coverage = coverage_of(reports)
        scores, sample_f1 = finding_scores(cases, Reading.of("report", reports, context), context, coverage)
        protocol = protocol_named(context.protocol)
        references = protocol.references([(case.report, *case.other_reports) for case in cases], context.references)
        if context.reference is not None:
            references = context.reference.on(references)
        tokens = protocol.tokens([report or "" for report in reports]).texts
        captions = protocol.score(references, reports, tokens)
        patients = [case.patient for case in cases]
        score = Scorer(context, len(cases), coverage)
        scores += [
            score(caption.metric, caption.value, True, caption.reason, additive=caption.additive(patients), **caption.details)
            for caption in captions
        ]
        scores += clinical_scores(cases, reports, context)
        scores += encoder_scores(cases, reports, context)
        scores += self._form(reports, tokens, references, patients, score)
        samples: list[dict[str, float]] = [{} for _ in cases]
        for caption in captions:
            for sample, one in zip(samples, caption.per_sample, strict=False):  # empty where the metric is withheld
                sample[caption.metric] = float(one)
        for sample, f1 in zip(samples, sample_f1 or [], strict=False):
            sample[PER_SAMPLE_F1] = f1
        return scores, samples

    @staticmethod
    def _form(
        reports: Sequence[str | None], tokens: Sequence[str], references: References, patients: Sequence[str], score: Scorer
    ) -> list[Score]:
        """Length, variety and repetition: descriptive, so that no value is better than another."""
        how: dict[str, Any] = {"tokenisation": references.tokenisation}
        compared: dict[str, Any] = {"compared": "case and spacing apart", "distinct_references": distinct(references.sources)}
        lengths, repeated = length_sums(references.texts, tokens), repetition_sums(tokens)
        pooled = {"counted": "within each report, pooled"} | how
        return [
            score("distinct reports", distinct_share(reports), None, **compared),
            score("distinct-1", distinct_n(tokens, 1), None, **how),
            score("distinct-2", distinct_n(tokens, 2), None, **how),
            score("mean length (tokens)", mean_length(tokens), None, **how),
            score.ratio("length ratio", lengths, patients, None, "the references have no tokens", **how),
            score.ratio("repeated 4-grams", repeated, patients, None, "no report has four tokens", **pooled),
        ]
