"""Which domain an image or a report is of: that of most of its nearest reference cases."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tasks.metrics.text.embeddings import WeightedWords, unit

NEIGHBOURS = 5
MINIMUM_ACCURACY = 0.95


class DomainReader:
    """The domain of a report: the only one there is, else that of its nearest reference reports, else None.
    `reports`, `domains`: N of references."""

    def __init__(self, reports: Sequence[str], domains: Sequence[str | None]) -> None:
        known = [(report, domain) for report, domain in zip(reports, domains, strict=True) if domain is not None]
        self.domains = [domain for _, domain in known]
        self.only = self.domains[0] if known and len(known) == len(reports) and len(set(self.domains)) == 1 else None
        self._words: WeightedWords | None = None
        if len(set(self.domains)) > 1:
            words = WeightedWords([report for report, _ in known])
            self._rows = words.rows([report for report, _ in known])
            if reading_accuracy(self._rows, self.domains) >= MINIMUM_ACCURACY:
                self._words = words

    def __call__(self, reports: Sequence[str | None]) -> list[str | None]:
        """One for each report; None where there is none, where it shares no word, or the references cannot be separated."""
        if self._words is None:
            return [None if report is None else self.only for report in reports]
        rows = self._words.rows([report or "" for report in reports])
        read = nearest_domains(rows, self._rows, self.domains)
        return [domain if row.any() else None for domain, row in zip(read, rows, strict=True)]


def nearest_domains(queries: np.ndarray, references: np.ndarray, domains: Sequence[str]) -> list[str]:
    """The most frequent domain among the `NEIGHBOURS` references of largest cosine; of equally frequent ones the nearest's.
    `queries`: (Q, D) features. `references`: (N, D) features of cases whose domain is known. `domains`: N."""
    cosine = unit(queries) @ unit(references).T
    return [_majority(row, domains) for row in np.argsort(-cosine, axis=1, kind="stable")[:, :NEIGHBOURS]]


def reading_accuracy(references: np.ndarray, domains: Sequence[str]) -> float:
    """Share of reference cases whose domain is read right from the others."""
    cosine = unit(references) @ unit(references).T
    np.fill_diagonal(cosine, -np.inf)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(domains) - 1)]
    return float(np.mean([_majority(row, domains) == domain for row, domain in zip(nearest, domains, strict=True)]))


def _majority(rows: np.ndarray, domains: Sequence[str]) -> str:
    """Counter keeps the order of first appearance among equals: the nearest."""
    return Counter(domains[row] for row in rows).most_common(1)[0][0]
