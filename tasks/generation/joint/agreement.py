"""What the data set's checkers see in generated images and read in generated reports: agreement, prevalence, co-occurrence."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from tasks.metrics.clinical.findings import Counts, Findings, prevalence, sample_f1
from tasks.metrics.pair.consistency import (
    PERMUTATIONS,
    Scale,
    additive_agreement,
    additive_label_mcc,
    additive_mcc,
    agreement,
    co_occurrence,
    prevalence_errors,
    scales_of,
)
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Cases
from tasks.scoring.findings import Reading, checker_details, readable, reference_findings
from tasks.scoring.scores import Score, Scored, Scorer

AGREEMENT, MCC = "joint agreement", "finding MCC"
PREVALENCE_ERROR, CO_OCCURRENCE = "max prevalence error", "co-occurrence error"
ANCHORED = f"(x - shuffled) / (real - shuffled), {PERMUTATIONS} permutations, real's interval above the highest of them"
DIRECTIONS = {AGREEMENT: True, f"anchored {AGREEMENT}": True, MCC: True, f"anchored {MCC}": True} | dict.fromkeys(
    (PREVALENCE_ERROR, f"{CO_OCCURRENCE} (image)", f"{CO_OCCURRENCE} (report)"), False
)


def agreement_scores(
    cases: Cases, images: Sequence[Image.Image | None], reports: Sequence[str | None], score: Scorer
) -> Scored:
    """Scores, and the agreement of each pair; withheld where the data set lacks a checker or shows no finding.
    A missing image or report shows nothing."""
    context, nothing = score.context, [dict[str, float]() for _ in cases]
    if context.image_checker is None or context.report_checker is None:
        missing = "image" if context.image_checker is None else "report"
        return score.withheld(DIRECTIONS, f"the data set has no {missing} checker"), nothing
    data, source = reference_findings(cases, context)
    labels, unread = readable(data or [], context.image_checker.labels, context.report_checker.labels)
    if data is None or not labels:
        reason = "no case shows any finding" if not unread else "no case shows a finding that both checkers read"
        return score.withheld(DIRECTIONS, source if data is None else reason), nothing
    in_images, in_reports = Reading.of("image", images, context), Reading.of("report", reports, context)
    if in_images.found is None or in_reports.found is None:
        failed = in_images if in_images.found is None else in_reports
        return score.withheld(DIRECTIONS, failed.reason, **failed.details), nothing
    score = score.of(
        **checker_details("image", context.image_checker),
        **checker_details("report", context.report_checker),
        labels=len(labels),
        averaged="labels that the data shows; one that no sample shows scores 0",
        **unread,
    )
    found = {"image": in_images.found, "report": in_reports.found}
    readings = _Readings(cases, data, found, labels, agreement(found["image"], found["report"], labels), score)
    scores = [*readings.agreement(), *readings.by_finding()]
    sourced = score.of(data_findings=source)
    scores += [*readings.prevalence(sourced), *readings.co_occurrence(sourced)]
    return scores, [{"agreement": f1} for f1 in sample_f1(readings.counts)]


def anchored_score(name: str, additive: Additive, scale: Scale | str, score: Scorer, rule: str = ANCHORED) -> Score:
    """Returns a metric on the scale of real and shuffled pairs, which is taken as known; withheld where there is none."""
    problem = scale if isinstance(scale, str) else scale.problem
    put = scale.put(additive) if isinstance(scale, Scale) and problem is None else None
    return score(f"anchored {name}", put, True, problem, anchored=rule)


@dataclass(frozen=True)
class _Readings:
    """Findings of the data, and of generated images and reports by modality, over `labels`."""

    cases: Cases
    data: Findings
    found: dict[str, Findings]
    labels: Sequence[str]
    counts: Counts
    score: Scorer

    @property
    def ids(self) -> list[str]:
        return [case.id for case in self.cases]

    def agreement(self) -> list[Score]:
        """As they are, and on the scale of real and shuffled pairs."""
        scales = self._scales()
        scores = []
        plain = {AGREEMENT: additive_agreement(self.counts, self.ids), MCC: additive_mcc(self.counts, self.ids)}
        for name, additive in plain.items():
            scale = scales if isinstance(scales, str) else scales[additive.combine]
            scores += [self.score(name, additive, True), anchored_score(name, additive, scale, self.score)]
        return scores

    def _scales(self) -> dict[str, Scale] | str:
        """By the name of a combiner, or why there are none."""
        if len(self.cases) < 2:
            return "a single case cannot be shuffled"
        context = self.score.context
        try:
            in_images = context.image_findings([case.image for case in self.cases])
            in_reports = context.report_findings([case.report for case in self.cases])
        except UserError as error:
            return str(error)
        patients = [case.patient for case in self.cases]
        return dict(scales_of(in_images, in_reports, self.labels, patients, context.seed))

    def by_finding(self) -> list[Score]:
        """MCC of each finding; blank where one modality shows it in all samples or in none."""
        scores = []
        for label in self.labels:
            additive = additive_label_mcc(self.counts, label, self.ids)
            defined = bool(np.isfinite(additive.value()))
            reason = None if defined else "one modality shows it in every sample or in none"
            scores.append(self.score(f"{MCC}: {label}", additive if defined else None, True, reason))
        return scores

    def prevalence(self, score: Scorer) -> list[Score]:
        """The largest absolute error over findings and both modalities, then each finding's prevalence in each modality."""
        errors = np.abs([prevalence_errors(found, self.data, self.labels) for found in self.found.values()])  # (2, L)
        shares = [
            score(f"prevalence: {label} ({modality})", float(share), None)
            for modality, found in self.found.items()
            for label, share in zip(self.labels, prevalence(found, self.labels), strict=True)
        ]
        return [score(PREVALENCE_ERROR, float(errors.max()), False), *shares]

    def co_occurrence(self, score: Scorer) -> list[Score]:
        """Mean absolute difference of the shares of samples that show two findings at once, over all pairs of findings."""
        score = score.of(pairs=len(list(combinations(self.labels, 2))))
        if len(self.labels) < 2:
            names = {f"{CO_OCCURRENCE} ({modality})": False for modality in self.found}
            return score.withheld(names, "the data shows a single finding")
        expected = co_occurrence(self.data, self.labels)
        return [
            score(f"{CO_OCCURRENCE} ({modality})", float(np.abs(co_occurrence(found, self.labels) - expected).mean()), False)
            for modality, found in self.found.items()
        ]
