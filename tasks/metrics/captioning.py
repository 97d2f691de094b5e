"""BLEU-1..4, METEOR 1.5, ROUGE-L and CIDEr by the COCO captioning protocol, one reference per case.

Scores are those of the corpus; texts come as tokens, and a missing report as an empty text. The scorers are
pycocoevalcap's, called one by one: its own `COCOEvalCap` would fetch a parser for a metric that is not used here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from tasks.metrics import meteor
from tasks.metrics.additive import Additive, combiner
from tasks.metrics.java import ScorerError
from tasks.metrics.signature import package

MINIMUM_CIDER_REFERENCES = 50
ORDERS = 4
METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


@dataclass(frozen=True)
class CaptionScore:
    """One metric over a corpus.

    Attributes:
        value: None where it is withheld; `reason` says why.
        details: what the signature has to say.
        per_sample: (N,) the metric of each case alone; empty where it is withheld.
        sums: (N, K) counts per case that add up over cases, and
        combine, parameters: the registered function of them that gives the corpus value (`tasks.metrics.additive`).
    """

    metric: str
    value: float | None
    details: dict[str, Any]
    per_sample: np.ndarray = field(default_factory=lambda: np.zeros(0))
    sums: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    combine: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None

    def additive(self, patients: Sequence[str]) -> Additive | None:
        """The sums with whose they are; None where the metric is withheld."""
        return None if self.combine is None else Additive(self.sums, tuple(patients), self.combine, self.parameters)


def caption_scores(references: Sequence[str], hypotheses: Sequence[str], tokenisation: str) -> list[CaptionScore]:
    """All metrics of tokenised texts against their references, in the order of `METRICS`.

    Args:
        references, hypotheses: N texts each, as space-separated tokens (`tasks.metrics.ptb.tokenise`); a missing one is empty.
        tokenisation: how they were made, for the signature.

    Raises:
        ValueError: no cases, or different numbers of them.
    """
    if len(references) != len(hypotheses) or not references:
        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses")
    details: dict[str, Any] = {"tokenisation": tokenisation, "references_per_case": 1}
    coco = details | {"scorer": package("pycocoevalcap")}
    return [
        *bleu(references, hypotheses, coco),
        meteor_15(references, hypotheses, details),
        rouge_l(references, hypotheses, coco),
        cider(references, hypotheses, coco),
    ]


def bleu(references: Sequence[str], hypotheses: Sequence[str], details: dict[str, Any]) -> list[CaptionScore]:
    """Corpus BLEU-1..4 of space-separated tokens (Papineni et al. 2002), without smoothing."""
    scorer = BleuScorer(n=ORDERS)
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        scorer += (hypothesis, [reference])
    values, per_sample = scorer.compute_score(option="closest", verbose=0)
    sums = np.array([[c["testlen"], c["reflen"][0], *c["guess"], *c["correct"]] for c in scorer.ctest], dtype=np.float64)
    return [
        CaptionScore(
            f"BLEU-{order}",
            float(values[order - 1]),
            details | {"aggregation": "corpus", "smoothing": "none"},
            np.array(per_sample[order - 1]),
            sums,
            "corpus-bleu",
            {"order": order},
        )
        for order in range(1, ORDERS + 1)
    ]


def rouge_l(references: Sequence[str], hypotheses: Sequence[str], details: dict[str, Any]) -> CaptionScore:
    """Mean ROUGE-L F of space-separated tokens with beta = 1.2, which weighs recall (Lin 2004)."""
    value, per_sample = Rouge().compute_score(_by_index(references), _by_index(hypotheses))
    details = details | {"aggregation": "mean", "beta": 1.2, "stemmer": "none"}
    return CaptionScore("ROUGE-L", float(value), details, per_sample, _mean_sums(per_sample), "mean")


def cider(references: Sequence[str], hypotheses: Sequence[str], details: dict[str, Any]) -> CaptionScore:
    """CIDEr of space-separated tokens (Vedantam et al. 2015); document frequencies are those of these references.

    Withheld below `MINIMUM_CIDER_REFERENCES` references: of few, the frequencies say nothing (of one, identical texts get 0).
    """
    details = details | {"aggregation": "mean", "document_frequencies": "test references", "sigma": 6.0}
    if len(references) < MINIMUM_CIDER_REFERENCES:
        reason = f"CIDEr needs at least {MINIMUM_CIDER_REFERENCES} references, here are {len(references)}"
        return CaptionScore("CIDEr", None, details, reason=reason)
    if not any(references):
        return CaptionScore("CIDEr", None, details, reason="every reference is empty after tokenisation")
    value, per_sample = Cider().compute_score(_by_index(references), _by_index(hypotheses))
    return CaptionScore("CIDEr", float(value), details, per_sample, _mean_sums(per_sample), "mean")


def meteor_15(references: Sequence[str], hypotheses: Sequence[str], details: dict[str, Any]) -> CaptionScore:
    """Corpus METEOR 1.5 of space-separated tokens; withheld with the reason where Java is missing or the jar fails."""
    details = details | {"scorer": "meteor-1.5.jar", "options": meteor.OPTIONS, "aggregation": "corpus"}
    try:
        counts = meteor.shared().counts(references, hypotheses)
    except ScorerError as error:
        return CaptionScore("METEOR", None, details, reason=str(error))
    sums = meteor.additive(counts)
    return CaptionScore("METEOR", float(meteor.score(sums.sum(axis=0))), details, meteor.score(counts), sums, "meteor-1.5")


@combiner("corpus-bleu")
def bleu_of_sums(sums: np.ndarray, *, order: int) -> np.ndarray:
    """Corpus BLEU of sums (R, 10): hypothesis and reference length, n-grams tried (4), n-grams matched (4).

    The constants are the scorer's own, so that the value and its interval are of one formula.
    """
    tiny, small = 1e-15, 1e-9
    length, reference_length, tried, matched = sums[:, 0], sums[:, 1], sums[:, 2 : 2 + order], sums[:, 6 : 6 + order]
    ratio = (length + tiny) / (reference_length + small)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return brevity * ((matched + tiny) / (tried + small)).prod(axis=1) ** (1 / order)


def _mean_sums(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


def _by_index(texts: Sequence[str]) -> dict[int, list[str]]:
    return {index: [text] for index, text in enumerate(texts)}
