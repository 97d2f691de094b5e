"""CIDEr of one reference a case (Vedantam et al. 2015), with the clipping and length penalty of COCO captioning."""

import numpy as np

from tasks.metrics.text.ngrams import ORDERS, Counted, Grams, References

SIGMA = 6.0


def cider(references: References, hypotheses: Counted) -> np.ndarray:
    """CIDEr of each case: float64 (N,), in [0, 10].

        g_n(w) = count(w) (log N - log max(1, df(w)))                           df: references that hold n-gram w, of N
        CIDEr  = 10 / 4 sum_n  exp(-d^2 / 2 s^2)  sum_w min(g_h, g_r) g_r / (|g_h| |g_r|)          s = 6

    d is the difference in *bigrams*, not words: what pycocoevalcap computes, and so what published values hold.
    """
    number = len(references)
    total = np.zeros(number)
    for order in range(1, ORDERS + 1):
        own, other = references.counted.grams[order - 1], hypotheses.grams[order - 1]
        weights, other_weights = _weights(references, own, order), _weights(references, other, order)
        norms = np.sqrt(own.per_text(weights**2, number) * other.per_text(other_weights**2, number))
        hit, place = references.matches(other, order)
        shared = np.minimum(other_weights[hit], weights[place]) * weights[place]
        products = np.bincount(other.rows[hit], weights=shared, minlength=number)
        total += np.divide(products, norms, out=np.zeros(number), where=norms > 0)
    return 10 / ORDERS * np.exp(-((_bigrams(hypotheses) - _bigrams(references.counted)) ** 2) / (2 * SIGMA**2)) * total


def _weights(references: References, grams: Grams, order: int) -> np.ndarray:
    """tf-idf of each n-gram in its text; one of no reference counts as being in one."""
    frequencies = references.frequencies[order - 1]
    found = np.ones(len(grams.ids))
    known = grams.ids < len(frequencies)
    found[known] = frequencies[grams.ids[known]]
    return grams.counts * (np.log(len(references)) - np.log(np.maximum(1.0, found)))


def _bigrams(counted: Counted) -> np.ndarray:
    return np.maximum(0, counted.lengths - 1).astype(np.float64)
