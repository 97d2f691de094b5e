"""How near reports are to their references in the space of a language model: BERTScore, and whole reports by MiniLM.
Neither sees a negation or a side as a reader does: "no effusion" is near "effusion"."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.bertscore import NAMES, BertScore
from tasks.metrics.text.embeddings import SentenceEncoder, sentence_encoder_folder
from tasks.metrics.weights import find_weights, weights_folder
from tasks.protocols import Case
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer, coverage_of

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

    parts = {"bertscore": (f"{BERTSCORE} F1", bertscore), "minilm": (SIMILARITY, similarity)}
    shown = [part for name, part in parts.items() if weights_folder(name) is not None or not context.brings_report_checker]
    return [one for metric, part in shown for one in score.attempt(metric, part)]


@lru_cache(maxsize=1)
def _bertscore(folder: str, device: str) -> BertScore:
    return BertScore(folder, device)


@lru_cache(maxsize=1)
def _encoder(folder: str) -> SentenceEncoder:
    return SentenceEncoder(Path(folder))
