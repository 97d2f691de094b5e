"""Joint generation: nothing in, an image and its report out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tasks.baselines.anchors import anchors_of
from tasks.context import Context
from tasks.distributions import distribution_scores
from tasks.generating import check_seeds, timed_batch
from tasks.metrics.consistency import (
    PERMUTATIONS,
    Scale,
    additive_agreement,
    additive_anchored,
    agreement,
    prevalence_errors,
    scale_of,
)
from tasks.metrics.diversity import distinct_share
from tasks.metrics.findings import Counts, Findings, macro_f1, prevalence, sample_f1, supported
from tasks.protocols import Anchor, Case, Generator, Prediction, Reconstructs, Score
from tasks.scoring import (
    aligned,
    checker_details,
    coverage_of,
    images_of,
    make_score,
    reference_findings,
    reports_of,
)

AGREEMENT = "joint agreement"
ANCHORED = "anchored joint agreement"
PREVALENCE_ERROR = "max prevalence error"
METHOD = "percentile bootstrap over samples"


class JointGeneration:
    """Unprompted pairs, scored by whether image and report agree, and by how far their distributions are from the data's.

    A prediction bears a case's id only to be counted: it answers no case.
    """

    name = "joint-generation"

    def generate(self, generator: Generator, cases: Sequence[Case], seeds: Sequence[int]) -> list[Prediction]:
        """One unprompted pair per case.

        Raises:
            UserError: the generator gave another number of pairs.
        """
        check_seeds(cases, seeds)
        pairs, cost = timed_batch(
            lambda: generator.generate_pairs([""] * len(cases), seeds=list(seeds)), generator.name, "pairs", len(cases)
        )
        return [
            Prediction(case.id, image=image, report=report, cost=cost)
            for case, (image, report) in zip(cases, pairs, strict=True)
        ]

    def anchors(
        self, cases: Sequence[Case], train: Sequence[Case], reconstructs: Reconstructs | None, seed: int
    ) -> list[Anchor]:
        """real, reconstruction (images; reports real), shuffled (reports of other cases), constant (one training pair)."""
        return anchors_of(cases, train, reconstructs, seed, images=True, reports=True)

    def score(
        self,
        cases: Sequence[Case],
        predictions: Sequence[Prediction],
        context: Context,
        population: Sequence[Image.Image] | None = None,
    ) -> tuple[list[Score], list[dict[str, float]]]:
        """Scores and per-sample scores; a pair counts as given where both its image and its report are."""
        predictions = aligned(cases, predictions)
        images, reports = images_of(cases, predictions), reports_of(predictions)
        pairs = [None if image is None or report is None else True for image, report in zip(images, reports, strict=True)]
        coverage = coverage_of(pairs)
        scores, samples = self._agreement(cases, images, reports, coverage, context)
        scores += self._distinct(cases, reports, coverage, context)
        scores += distribution_scores(cases, images, context, population)
        return scores, samples

    def _agreement(
        self,
        cases: Sequence[Case],
        images: Sequence[Image.Image | None],
        reports: Sequence[str | None],
        coverage: float,
        context: Context,
    ) -> tuple[list[Score], list[dict[str, float]]]:
        n = len(cases)
        nothing: list[dict[str, float]] = [{} for _ in cases]
        directions = {AGREEMENT: True, ANCHORED: True, PREVALENCE_ERROR: False}

        def withheld(reason: str) -> list[Score]:
            return [make_score(name, None, context, n, coverage, up, reason=reason) for name, up in directions.items()]

        if context.image_checker is None or context.report_checker is None:
            missing = "image" if context.image_checker is None else "report"
            return withheld(f"the data set has no {missing} checker"), nothing
        data, source = reference_findings(cases, context)
        labels = supported(data or [])
        if data is None or not labels:
            return withheld(source if data is None else "no case shows any finding"), nothing

        details: dict[str, Any] = checker_details("image", context.image_checker) | checker_details(
            "report", context.report_checker
        )
        details |= {"labels": len(labels), "averaged": "labels that the data shows; one that no sample shows scores 0"}
        in_images, in_reports = context.image_findings(images), context.report_findings(reports)
        counts = agreement(in_images, in_reports, labels)
        value = float(macro_f1(counts.totals()))
        additive = additive_agreement(counts, [case.id for case in cases])
        scores = [make_score(AGREEMENT, value, context, n, coverage, True, method=METHOD, additive=additive, **details)]
        scores.append(self._anchored(value, counts, cases, labels, coverage, context, details))
        scores += self._prevalence(data, in_images, in_reports, labels, coverage, context, details | {"data_findings": source})
        return scores, [{"agreement": f1} for f1 in sample_f1(counts)]

    @staticmethod
    def _anchored(
        value: float,
        counts: Counts,
        cases: Sequence[Case],
        labels: Sequence[str],
        coverage: float,
        context: Context,
        details: dict[str, Any],
    ) -> Score:
        """Agreement on the scale of real and shuffled pairs; its interval takes these two as known."""
        n = len(cases)
        details = details | {"anchored": f"(x - shuffled) / (real - shuffled), {PERMUTATIONS} permutations"}
        if n < 2:
            return make_score(ANCHORED, None, context, n, coverage, True, reason="a single case cannot be shuffled", **details)
        scale: Scale = scale_of(
            context.image_findings([case.image for case in cases]),
            context.report_findings([case.report for case in cases]),
            labels,
            context.seed,
        )
        if scale.problem is not None:
            return make_score(ANCHORED, None, context, n, coverage, True, reason=scale.problem, **details)
        anchored = additive_anchored(counts, [case.id for case in cases], scale)
        return make_score(
            ANCHORED, scale.anchored(value), context, n, coverage, True, method=METHOD, additive=anchored, **details
        )

    @staticmethod
    def _prevalence(
        data: Findings,
        in_images: Findings,
        in_reports: Findings,
        labels: Sequence[str],
        coverage: float,
        context: Context,
        details: dict[str, Any],
    ) -> list[Score]:
        """The largest absolute error over findings and both modalities, then each finding's prevalence in each modality."""
        n = len(in_images)
        modalities = {"image": in_images, "report": in_reports}
        errors = np.abs([prevalence_errors(found, data, labels) for found in modalities.values()])  # (2, L)
        scores = [make_score(PREVALENCE_ERROR, float(errors.max()), context, n, coverage, False, **details)]
        for modality, found in modalities.items():
            scores += [
                make_score(f"prevalence: {label} ({modality})", float(share), context, n, coverage, None, **details)
                for label, share in zip(labels, prevalence(found, labels), strict=True)
            ]
        return scores

    @staticmethod
    def _distinct(cases: Sequence[Case], reports: Sequence[str | None], coverage: float, context: Context) -> list[Score]:
        n = len(cases)
        share, real = distinct_share(reports), distinct_share([case.report for case in cases])
        compared: dict[str, Any] = {"compared": "case and spacing apart"}
        return [
            make_score("distinct reports", share, context, n, coverage, None, **compared),
            make_score("distinct reports (of the real share)", share / real, context, n, coverage, None, **compared),
        ]
