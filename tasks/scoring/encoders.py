"""How near reports are to their references in the space of a language model: BERTScore, and whole reports by MiniLM.
Neither sees a negation or a side as a reader does: "no effusion" is near "effusion"."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from medim.common.errors import UserError, foreign
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.bertscore import NAMES, BertScore
from tasks.metrics.text.embeddings import SentenceEncoder, sentence_encoder_folder
from tasks.metrics.weights import find_weights, weights_folder
from tasks.protocols import Case
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer, because, coverage_of

BERTSCORE, SIMILARITY = "BERTScore", "report similarity (all-MiniLM-L6-v2)"


def encoder_scores(cases: Sequence[Case], reports: Sequence[str | None], context: Context) -> list[Score]:
    """The mean over reports of each; a missing report (None) counts 0 before any rescaling.
    Each is withheld alone; where no folder is named, on data without a report checker only."""
    score = Scorer(context, len(cases), coverage_of(reports), {"aggregation": "mean"})
    references, patients = [case.report for case in cases], [case.patient for case in cases]

    def bertscore() -> list[Score]:
        scorer = _bertscore(str(find_weights("bertscore")), context.device)
        title = f"{BERTSCORE} {{}} ({scorer.details['encoder']}{', rescaled' if scorer.details['rescaled'] else ''})"
        columns = scorer.scores(references, reports).T.tolist()
        means = [Additive.mean(column, patients) for column in columns]
        return [score(title.format(name), mean, True, **scorer.details) for name, mean in zip(NAMES, means, strict=True)]

    def similarity() -> list[Score]:
        encoder = _encoder(str(sentence_encoder_folder()))
        first, second = (encoder.rows([text or "" for text in texts]) for texts in (references, reports))
        cosines = (first * second).sum(axis=1) * np.array([report is not None for report in reports])
        mean = Additive.mean(cosines.tolist(), patients)
        return [score(SIMILARITY, mean, True, encoder=encoder.name, encoder_hash=encoder.fingerprint)]

    scores: list[Score] = []
    parts: dict[str, Callable[[], list[Score]]] = {f"{BERTSCORE} F1": bertscore, SIMILARITY: similarity}
    for metric, part in parts.items():
        if context.brings_report_checker and not _there(metric):
            continue
        try:
            with foreign(metric):
                scores += part()
        except UserError as error:
            scores.append(score(metric, None, True, str(error), **{"unavailable": True} | because(error)))
    return scores


def _there(metric: str) -> bool:
    return weights_folder("minilm" if metric == SIMILARITY else "bertscore") is not None


@lru_cache(maxsize=1)
def _bertscore(folder: str, device: str) -> BertScore:
    return BertScore(folder, device)


@lru_cache(maxsize=1)
def _encoder(folder: str) -> SentenceEncoder:
    return SentenceEncoder(Path(folder))
