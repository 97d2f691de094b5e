"""Whether an image goes with its report, by models that join images and texts: one column for each that has a folder."""

from collections.abc import Sequence
from functools import lru_cache, partial

from PIL import Image

from tasks.metrics.pair.alignment import Aligner
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.weights import SOURCES, find_weights, weights_folder
from tasks.protocols import Cases
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer, coverage_of


def alignment_scores(
    cases: Cases, images: Sequence[Image.Image | None], reports: Sequence[str | None], context: Context, paired: bool
) -> list[Score]:
    """The mean cosine of image and report, of each model over the domains that it knows; withheld where one is missing.
    `paired`: whether each answers one case, whose patient it then counts for."""
    scores: list[Score] = []
    for name, source in SOURCES.items():
        rows = [row for row, case in enumerate(cases) if case.domain in source.aligns]
        if not rows or (context.brings_report_checker and weights_folder(name) is None):
            continue
        pairs = [(images[row], reports[row]) for row in rows]
        whole = [(image, report) for image, report in pairs if image is not None and report is not None]
        patients = [cases[row].patient if paired else cases[row].id for row in rows]
        there = [report if image is not None else None for image, report in pairs]
        score = Scorer(context, len(rows), coverage_of(there), {"aggregation": "mean"})
        column = f"image-report cosine ({source.title})"
        scores += score.attempt(column, partial(_cosine, column, name, whole, patients, paired, score))
    return scores


def _cosine(
    column: str, name: str, pairs: Sequence[tuple[Image.Image, str]], patients: Sequence[str], paired: bool, score: Scorer
) -> list[Score]:
    """The score of one model on the pairs that are whole, which have to be as many as `patients`."""
    aligner = _aligner(str(find_weights(name)), score.context.device)
    if len(pairs) < len(patients):
        reason = f"{len(patients) - len(pairs)} of {len(patients)} pairs are not whole"
        return [score(column, None, True, reason, **aligner.details)]
    cosines = aligner.cosines([image for image, _ in pairs], [report for _, report in pairs])
    return [score(column, Additive.mean(cosines.tolist(), patients, paired), True, **aligner.details)]


@lru_cache(maxsize=2)
def _aligner(folder: str, device: str) -> Aligner:
    return Aligner(folder, device)
