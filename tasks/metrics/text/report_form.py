"""The form of reports, whatever they say: length, repetition, variety."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

REPEATED_ORDER = 4


def length_sums(references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """Tokens of each hypothesis and of its reference: float64 (N, 2); the ratio of their sums is the length ratio."""
    lengths = [(len(ours.split()), len(theirs.split())) for theirs, ours in zip(references, hypotheses, strict=True)]
    return np.array(lengths, dtype=np.float64).reshape(-1, 2)


def mean_length(tokenised: Sequence[str]) -> float:
    """Mean number of tokens of space-separated texts; an empty text has none."""
    return sum(len(text.split()) for text in tokenised) / len(tokenised)


def repetition_sums(tokenised: Sequence[str]) -> np.ndarray:
    """Of each text, n-grams that stand earlier in the same text, and all n-grams: float64 (N, 2).
    The ratio of their sums is the share of repeated n-grams (Welleck et al. 2020, seq-rep-n, pooled over texts)."""
    grams = [_grams(text, REPEATED_ORDER) for text in tokenised]
    return np.array([(len(each) - len(set(each)), len(each)) for each in grams], dtype=np.float64).reshape(-1, 2)


def distinct_n(tokenised: Sequence[str], n: int) -> float:
    """Distinct n-grams / n-grams over all texts (Li et al. 2016, distinct-n); 0 where there are none."""
    grams = list(chain.from_iterable(_grams(text, n) for text in tokenised))
    return len(set(grams)) / len(grams) if grams else 0.0


def distinct(texts: Sequence[str | None]) -> int:
    """Number of different texts, case and spacing apart; all missing ones are one."""
    return len({" ".join((text or "").split()).lower() for text in texts})


def distinct_share(texts: Sequence[str | None]) -> float:
    """Distinct texts / texts, in (0, 1]."""
    return distinct(texts) / len(texts)


def _grams(text: str, order: int) -> list[tuple[str, ...]]:
    words = text.split()
    return list(zip(*(words[shift:] for shift in range(order)), strict=False))
