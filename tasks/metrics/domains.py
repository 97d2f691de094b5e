"""Which domain an image or a report is of: that of most of its nearest reference cases."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tasks.metrics.texts import unit

NEIGHBOURS = 5
MINIMUM_ACCURACY = 0.95


def nearest_domains(queries: np.ndarray, references: np.ndarray, domains: Sequence[str]) -> list[str]:
    """The most frequent domain among the `NEIGHBOURS` references of largest cosine; of equally frequent ones the nearest's.

    Args:
        queries: (Q, D) features.
        references: (N, D) features of cases whose domain is known.
        domains: N.
    """
    cosine = unit(queries) @ unit(references).T
    return [_majority(row, domains) for row in np.argsort(-cosine, axis=1, kind="stable")[:, :NEIGHBOURS]]


def reading_accuracy(references: np.ndarray, domains: Sequence[str]) -> float:
    """Share of reference cases whose domain is read right from the others."""
    cosine = unit(references) @ unit(references).T
    np.fill_diagonal(cosine, -np.inf)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(domains) - 1)]
    return float(np.mean([_majority(row, domains) == own for row, own in zip(nearest, domains, strict=True)]))


def _majority(rows: np.ndarray, domains: Sequence[str]) -> str:
    """Counter keeps the order of first appearance among equals: the nearest."""
    return Counter(domains[row] for row in rows).most_common(1)[0][0]
