"""What can be said of reports without reading them: how long they are, and how much they repeat themselves."""

from collections.abc import Sequence

import numpy as np

REPEATED_ORDER = 4


def length_sums(references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """Tokens of each hypothesis and of its reference: float64 (N, 2); the ratio of their sums is the length ratio."""
    return np.array(
        [(len(ours.split()), len(theirs.split())) for theirs, ours in zip(references, hypotheses, strict=True)],
        dtype=np.float64,
    ).reshape(-1, 2)


def repetition_sums(tokenised: Sequence[str], order: int = REPEATED_ORDER) -> np.ndarray:
    """Of each text, n-grams that stand earlier in the same text, and all n-grams: float64 (N, 2).

    The ratio of their sums is the share of repeated n-grams (Welleck et al. 2020, seq-rep-n, pooled over texts).
    """
    sums = np.zeros((len(tokenised), 2))
    for row, text in zip(sums, tokenised, strict=True):
        words = text.split()
        grams = list(zip(*(words[shift:] for shift in range(order)), strict=False))
        row[:] = len(grams) - len(set(grams)), len(grams)
    return sums


def distinct(texts: Sequence[str | None]) -> int:
    """Number of different texts; case and spacing do not make a difference, all missing ones are one."""
    return len({" ".join((text or "").split()).lower() for text in texts})
