"""Joint generation: nothing in, an image and its report out."""

from collections.abc import Sequence
from typing import Any

from tasks.baselines.anchors import anchors_of
from tasks.generation.joint.agreement import AGREEMENT, PREVALENCE_ERROR, agreement_scores
from tasks.generation.joint.domains import DOMAIN_ERROR, domain_scores
from tasks.generation.joint.judge import judge_scores
from tasks.generation.joint.retrieval import retrieval_scores
from tasks.metrics.text.report_form import distinct_share
from tasks.protocols import Case, Generator, Prediction, Reconstructs
from tasks.scoring.context import Context
from tasks.scoring.distributions import distribution_scores
from tasks.scoring.scores import Score, Scorer, aligned, coverage_of, images_of, reports_of
from tasks.task import Anchor, Task, check_seeds, timed_batch


class JointGeneration(Task):
    """Unprompted pairs, scored by whether image and report agree, and by how far their distributions are from the data's."""

    name = "joint-generation"
    title = "Joint generation"
    intro = "Image and report are generated together, from nothing or from a prompt."
    needs = ("image", "report")
    prompted = False
    headline_metrics = (
        AGREEMENT,
        f"anchored {AGREEMENT}",
        PREVALENCE_ERROR,
        DOMAIN_ERROR,
        "anchored retrieval R@10 (image to report)",
        "distinct reports",
    )
    order = 30

    def generate(self, generator: Generator, cases: Sequence[Case], seeds: Sequence[int]) -> list[Prediction]:
        """One unprompted pair per case. Raises UserError: the generator gave another number of pairs."""
        check_seeds(cases, seeds)
        n = len(cases)
        pairs, cost = timed_batch(
            lambda: generator.generate_pairs([""] * n, seeds=list(seeds)), generator.name, "pairs", n, generator
        )
        return [
            Prediction(case.id, image=image, report=report, cost=cost)
            for case, (image, report) in zip(cases, pairs, strict=True)
        ]

    def anchors(
        self, cases: Sequence[Case], train: Sequence[Case], reconstructs: Reconstructs | None, seed: int
    ) -> list[Anchor]:
        """real, reconstruction (of images), shuffled, constant, training copy."""
        return anchors_of(cases, train, reconstructs, seed, images=True, reports=True)

    def score(
        self,
        cases: Sequence[Case],
        predictions: Sequence[Prediction],
        context: Context,
        population: Sequence[Case] | None = None,
    ) -> tuple[list[Score], list[dict[str, float]]]:
        """Scores and per-sample scores; a pair counts as given where both its image and its report are."""
        predictions = aligned(cases, predictions)
        images, reports = images_of(cases, predictions), reports_of(predictions)
        pairs = [None if image is None or report is None else True for image, report in zip(images, reports, strict=True)]
        score = Scorer(context, len(cases), coverage_of(pairs))
        scores, samples = agreement_scores(cases, images, reports, score)
        judged, verdicts = judge_scores(cases, images, reports, score)
        scores += judged
        samples = [sample | verdict for sample, verdict in zip(samples, verdicts, strict=True)]
        scores += domain_scores(cases, images, reports, score)
        scores += retrieval_scores(cases, images, reports, score)
        share, real = distinct_share(reports), distinct_share([case.report for case in cases])
        compared: dict[str, Any] = {"compared": "case and spacing apart"}
        scores.append(score("distinct reports", share, None, **compared))
        scores.append(score("distinct reports (of the real share)", share / real, None, **compared))
        scores += distribution_scores(cases, images, context, population)
        return scores, samples
