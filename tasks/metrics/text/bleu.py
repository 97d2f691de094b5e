"""BLEU of one reference a case (Papineni et al. 2002): counts that add up over cases, and the two ways of averaging them."""

import numpy as np

from tasks.metrics.statistics.additive import combiner
from tasks.metrics.text.ngrams import ORDERS, Counted, References

_TINY, _SMALL = 1e-15, 1e-9  # pycocoevalcap's, against division by zero


def bleu_sums(references: References, hypotheses: Counted) -> np.ndarray:
    """Counts of each case: float64 (N, 10): tokens of hypothesis and reference, n-grams tried (4), n-grams matched (4).

    A match is clipped: an n-gram counts at most as often as the reference has it.
    """
    lengths = hypotheses.lengths
    tried = [np.maximum(0, lengths - order) for order in range(ORDERS)]
    matched = []
    for order, grams in enumerate(hypotheses.grams, start=1):
        hit, own = references.matches(grams, order)
        clipped = np.minimum(grams.counts[hit], references.counted.grams[order - 1].counts[own])
        matched.append(np.bincount(grams.rows[hit], weights=clipped, minlength=len(lengths)))
    return np.stack([lengths, references.counted.lengths, *tried, *matched], axis=1).astype(np.float64)


@combiner("corpus-bleu", bounds=(0, 1))
def bleu_of_sums(sums: np.ndarray, *, order: int) -> np.ndarray:
    """BLEU-1 to `order` of sums (R, 10), as pycocoevalcap computes it, without smoothing: (R,).

        BLEU = min(1, exp(1 - r / c)) (prod_n matched_n / tried_n)^(1 / order)     c, r tokens of hypothesis and reference

    The value of the corpus where the rows are sums over cases; of a case alone where they are its own.
    """
    length, reference_length, tried, matched = sums[:, 0], sums[:, 1], sums[:, 2 : 2 + order], sums[:, 6 : 6 + order]
    ratio = (length + _TINY) / (reference_length + _SMALL)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return brevity * ((matched + _TINY) / (tried + _SMALL)).prod(axis=1) ** (1 / order)


def smoothed_sentence_bleu(sums: np.ndarray, order: int, epsilon: float = 0.1) -> np.ndarray:
    """BLEU-1 to `order` of each case alone, an order without a match counted as `epsilon` matches: (N, 10) -> (N,).

    Chen and Cherry 2014, method 1, as NLTK computes it: 0 where not one word matches, and an order that the text is too short
    for has been tried once.
    """
    length, reference_length, tried, matched = sums[:, 0], sums[:, 1], sums[:, 2 : 2 + order], sums[:, 6 : 6 + order]
    precision = np.where(matched > 0, matched, epsilon) / np.maximum(1.0, tried)
    with np.errstate(divide="ignore"):
        brevity = np.exp(np.minimum(0.0, 1 - reference_length / length))
    return np.where(sums[:, 6] > 0, brevity * np.exp(np.log(precision).mean(axis=1)), 0.0)
