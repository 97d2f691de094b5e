"""Whether an image goes with its report, by models that join images and texts: one column for each that has a folder."""

from collections.abc import Sequence
from functools import lru_cache

from PIL import Image

from medim.common.errors import UserError, foreign
from tasks.metrics.pair.alignment import Aligner
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.weights import SOURCES, find_weights, weights_folder
from tasks.protocols import Cases
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer, because, coverage_of


def alignment_scores(
    cases: Cases, images: Sequence[Image.Image | None], reports: Sequence[str | None], context: Context, paired: bool
) -> list[Score]:
    """The mean cosine of image and report, of each model over the domains that it knows; withheld where one is missing.

    Args:
        paired: whether each answers its own case, whose patient it then counts for.
    """
    scores = []
    for name, source in SOURCES.items():
        rows = [row for row, case in enumerate(cases) if source.aligns and case.domain in source.aligns]
        if not rows or (context.brings_report_checker and weights_folder(name) is None):
            continue
        pairs = [(images[row], reports[row]) for row in rows]
        whole = [(image, report) for image, report in pairs if image is not None and report is not None]
        there = [pair if None not in pair else None for pair in pairs]
        score = Scorer(context, len(rows), coverage_of(there), {"aggregation": "mean"})
        column = f"image-report cosine ({source.title})"
        try:
            with foreign(column):
                aligner = _aligner(str(find_weights(name)), context.device)
                if len(whole) < len(pairs):
                    reason = f"{len(pairs) - len(whole)} of {len(pairs)} pairs are not whole"
                    scores.append(score(column, None, True, reason, **aligner.details))
                    continue
                cosines = aligner.cosines([image for image, _ in whole], [report for _, report in whole])
                patients = [cases[row].patient if paired else cases[row].id for row in rows]
                scores.append(score(column, Additive.mean(cosines.tolist(), patients, paired), True, **aligner.details))
        except UserError as error:
            scores.append(score(column, None, True, str(error), **{"unavailable": True} | because(error)))
    return scores


@lru_cache(maxsize=2)
def _aligner(folder: str, device: str) -> Aligner:
    return Aligner(folder, device)
