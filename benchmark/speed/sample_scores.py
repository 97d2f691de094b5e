"""What samples are worth: the scores of a task that the checkers which score can tell, and nothing that needs more cases."""

from collections.abc import Sequence

from tasks.generation.joint.agreement import AGREEMENT, agreement_scores
from tasks.generation.joint.domains import domain_scores
from tasks.protocols import Case, Prediction
from tasks.scoring.context import Context
from tasks.scoring.findings import MACRO_F1, Reading, finding_scores
from tasks.scoring.scores import Score, aligned, coverage_of, images_of, reports_of

HEADLINES = {"joint-generation": AGREEMENT, "image-generation": MACRO_F1, "report-generation": MACRO_F1}
"""The score of each task that samplers are compared by: an F1 each."""


def scores_of(task: str, cases: Sequence[Case], predictions: Sequence[Prediction], context: Context) -> dict[str, Score]:
    """Scores by metric: agreement, MCC, prevalences and domains of pairs; finding F1 of images or reports."""
    predictions = aligned(cases, predictions)
    images, reports = images_of(cases, predictions), reports_of(predictions)
    if task == "joint-generation":
        both = [(image is not None and report is not None) or None for image, report in zip(images, reports, strict=True)]
        coverage = coverage_of(both)
        scores, _ = agreement_scores(cases, images, reports, coverage, context)
        scores += domain_scores(cases, images, reports, coverage, context)
    else:
        modality = task.removesuffix("-generation")
        reading = Reading.of("image", images, context) if modality == "image" else Reading.of("report", reports, context)
        scores, _ = finding_scores(cases, reading, context, coverage_of(images if modality == "image" else reports))
    return {score.metric: score for score in scores}
