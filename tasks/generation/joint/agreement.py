"""What the data set's checkers see in generated images and read in generated reports: agreement, prevalence, co-occurrence."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from tasks.metrics.clinical.findings import Counts, Findings, prevalence, sample_f1, supported
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
from tasks.protocols import Case
from tasks.scoring.context import Context
from tasks.scoring.findings import Reading, checker_details, reference_findings
from tasks.scoring.scores import Score, make_score

AGREEMENT, MCC = "joint agreement", "finding MCC"
PREVALENCE_ERROR, CO_OCCURRENCE = "max prevalence error", "co-occurrence error"
ANCHORED = f"(x - shuffled) / (real - shuffled), {PERMUTATIONS} permutations, real's interval above the highest of them"
DIRECTIONS = {
    AGREEMENT: True, f"anchored {AGREEMENT}": True, MCC: True, f"anchored {MCC}": True, PREVALENCE_ERROR: False,
    f"{CO_OCCURRENCE} (image)": False, f"{CO_OCCURRENCE} (report)": False,
}  # fmt: skip


def agreement_scores(
    cases: Sequence[Case],
    images: Sequence[Image.Image | None],
    reports: Sequence[str | None],
    coverage: float,
    context: Context,
) -> tuple[list[Score], list[dict[str, float]]]:
    """Scores, and the agreement of each pair; withheld where the data set lacks a checker or shows no finding.

    A missing image or report shows nothing.
    """
    n = len(cases)
    nothing: list[dict[str, float]] = [{} for _ in cases]

    def withheld(reason: str, **why: Any) -> list[Score]:
        return [make_score(name, None, context, n, coverage, up, reason=reason, **why) for name, up in DIRECTIONS.items()]

    if context.image_checker is None or context.report_checker is None:
        missing = "image" if context.image_checker is None else "report"
        return withheld(f"the data set has no {missing} checker"), nothing
    data, source = reference_findings(cases, context)
    labels = supported(data or [])
    if data is None or not labels:
        return withheld(source if data is None else "no case shows any finding"), nothing
    details = checker_details("image", context.image_checker) | checker_details("report", context.report_checker)
    in_images, in_reports = Reading.of("image", images, context), Reading.of("report", reports, context)
    if in_images.found is None or in_reports.found is None:
        failed = in_images if in_images.found is None else in_reports
        return withheld(failed.reason, **failed.details), nothing
    readings = _Readings(
        cases, data, list(in_images.found), list(in_reports.found), labels, coverage, context,
        details | {"labels": len(labels), "averaged": "labels that the data shows; one that no sample shows scores 0"},
        {"data_findings": source},
    )  # fmt: skip
    return readings.scores(), [{"agreement": f1} for f1 in sample_f1(readings.counts)]


class _Readings:
    """Findings of generated images and reports, and of the data."""

    def __init__(
        self,
        cases: Sequence[Case],
        data: Findings,
        in_images: Findings,
        in_reports: Findings,
        labels: Sequence[str],
        coverage: float,
        context: Context,
        details: dict[str, Any],
        source: dict[str, Any],
    ) -> None:
        self.cases, self.data, self.labels, self.coverage, self.context = cases, data, labels, coverage, context
        self.ids = [case.id for case in cases]
        self.modalities = {"image": in_images, "report": in_reports}
        self.counts: Counts = agreement(in_images, in_reports, labels)
        self.details, self.source = details, source

    def scores(self) -> list[Score]:
        plain = {AGREEMENT: additive_agreement(self.counts, self.ids), MCC: additive_mcc(self.counts, self.ids)}
        scales = self._scales()
        scores = []
        for name, additive in plain.items():
            scores.append(self._score(name, additive.value(), True, additive))
            scores.append(self._anchored(name, additive, scales))
        return [*scores, *self._by_finding(), *self._prevalence(), *self._co_occurrence()]

    def _score(
        self,
        name: str,
        value: float | None,
        better: bool | None,
        additive: Additive | None = None,
        reason: str | None = None,
        **details: Any,
    ) -> Score:
        return make_score(
            name, value, self.context, len(self.cases), self.coverage, better, reason=reason, additive=additive,
            **{**self.details, **details},
        )  # fmt: skip

    def _scales(self) -> dict[str, Scale] | str:
        """By the name of a combiner, or why there are none."""
        if len(self.cases) < 2:
            return "a single case cannot be shuffled"
        images, reports = [case.image for case in self.cases], [case.report for case in self.cases]
        try:
            findings = self.context.image_findings(images), self.context.report_findings(reports)
        except UserError as error:
            return str(error)
        return dict(scales_of(*findings, self.labels, [case.patient for case in self.cases], self.context.seed))

    def _anchored(self, name: str, additive: Additive, scales: dict[str, Scale] | str) -> Score:
        """On the scale of real and shuffled pairs; its interval takes these two as known."""
        scale = scales if isinstance(scales, str) else scales[additive.combine]
        problem = scale if isinstance(scale, str) else scale.problem
        if isinstance(scale, str) or problem is not None:
            return self._score(f"anchored {name}", None, True, reason=problem, anchored=ANCHORED)
        put = scale.put(additive)
        return self._score(f"anchored {name}", put.value(), True, put, anchored=ANCHORED)

    def _by_finding(self) -> list[Score]:
        """MCC of each finding; blank where one modality shows it in all samples or in none."""
        scores = []
        for label in self.labels:
            additive = additive_label_mcc(self.counts, label, self.ids)
            name = f"{MCC}: {label}"
            if np.isfinite(additive.value()):
                scores.append(self._score(name, additive.value(), True, additive))
            else:
                reason = "one modality shows it in every sample or in none"
                scores.append(self._score(name, None, True, reason=reason))
        return scores

    def _prevalence(self) -> list[Score]:
        """The largest absolute error over findings and both modalities, then each finding's prevalence in each modality."""
        errors = np.abs([prevalence_errors(found, self.data, self.labels) for found in self.modalities.values()])  # (2, L)
        scores = [self._score(PREVALENCE_ERROR, float(errors.max()), False, **self.source)]
        for modality, found in self.modalities.items():
            scores += [
                self._score(f"prevalence: {label} ({modality})", float(share), None, **self.source)
                for label, share in zip(self.labels, prevalence(found, self.labels), strict=True)
            ]
        return scores

    def _co_occurrence(self) -> list[Score]:
        """Mean absolute difference of the shares of samples that show two findings at once, over all pairs of findings."""
        details = self.source | {"pairs": len(list(combinations(self.labels, 2)))}
        scores = []
        for modality, found in self.modalities.items():
            name = f"{CO_OCCURRENCE} ({modality})"
            if len(self.labels) < 2:
                scores.append(self._score(name, None, False, reason="the data shows a single finding", **details))
                continue
            error = np.abs(co_occurrence(found, self.labels) - co_occurrence(self.data, self.labels)).mean()
            scores.append(self._score(name, float(error), False, **details))
        return scores
