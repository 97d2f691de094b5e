"""The 14 labels of CheXpert (Irvin et al. 2019) as codes, and F1 of the labels of reports against those of their references.

A label is blank, positive, negative or uncertain, in the codes of CheXbert (Smit et al. 2020). What an uncertain one counts as
moves F1 by several points, and published values differ in it, so that the policy is in the metric's name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.metrics.clinical.findings import Counts
from tasks.metrics.clinical.terms import read_terms
from tasks.metrics.statistics.additive import Additive

_TERMS = read_terms("chest_terms")
LABELS: tuple[str, ...] = tuple(_TERMS["labels"])
FIVE: tuple[str, ...] = tuple(_TERMS["five"])
BLANK, POSITIVE, NEGATIVE, UNCERTAIN = range(4)
SUPPORTED, ALL = "over supported labels", "over all labels"
POLICIES = ("positive", "negative", "omit")
"""What an uncertain label counts as: present, absent, or left out on both sides."""


class LabelScore(NamedTuple):
    """One F1 over a corpus; without `additive` where no reference shows any label."""

    metric: str
    details: Mapping[str, Any]
    additive: Additive | None

    @property
    def value(self) -> float | None:
        return None if self.additive is None else self.additive.value()


def label_counts(references: np.ndarray, predictions: np.ndarray, policy: str) -> Counts:
    """Counts of codes (N, 14) against codes (N, 14) under an uncertainty policy; a ValueError for another one."""
    if policy not in POLICIES:
        raise ValueError(f"uncertain labels count as one of {POLICIES}, not '{policy}'")
    shown, found = _present(references, policy), _present(predictions, policy)
    kept = np.ones_like(shown)
    if policy == "omit":
        kept = (references != UNCERTAIN) & (predictions != UNCERTAIN)
    counts = np.stack([shown & found & kept, found & ~shown & kept, shown & ~found & kept], axis=1)
    return Counts(LABELS, counts.astype(np.int64))


def label_scores(
    references: np.ndarray, predictions: np.ndarray, patients: Sequence[str], policy: str = "positive"
) -> list[LabelScore]:
    """Micro and macro F1 over the 14 labels and over the 5 of CheXpert's competition, of codes (N, 14).

    Macro means run over the labels that the references show or, as in published values, over all: a label on neither side then
    counts as 0.
    """
    every = label_counts(references, predictions, policy)
    scores = []
    for labels in (LABELS, FIVE):
        counts = every.select(labels)
        totals = counts.totals()
        support = dict(zip(labels, (totals[0] + totals[2]).tolist(), strict=True))
        details: dict[str, Any] = {"support": support, "uncertain": policy}
        size, shown = len(labels), sum(map(bool, support.values()))
        by_label, pooled = counts.values.reshape(len(patients), -1), counts.values.sum(axis=2)
        supported_only = {"averaged": "labels that the references show", "labels": shown}
        all_of_them = {"averaged": "all labels; one on neither side counts as 0", "labels": size}
        for kind, sums, combine, parameters, more in (
            (f"micro-F1-{size}", pooled, "micro-f1", {}, {}),
            (f"macro-F1-{size} {SUPPORTED}", by_label, "macro-f1", {"labels": size}, supported_only),
            (f"macro-F1-{size} {ALL}", by_label, "macro-f1-all", {"labels": size}, all_of_them),
        ):
            additive = Additive(sums, tuple(patients), combine, parameters) if shown else None
            scores.append(LabelScore(f"{kind}, uncertain {policy}", details | (more if shown else {}), additive))
    return scores


def as_findings(codes: np.ndarray, policy: str = "positive") -> list[frozenset[str]]:
    """Labels that count as present, one set per row of codes (N, 14); `omit` keeps the positive ones only."""
    rows = _present(codes, policy)
    return [frozenset(label for label, is_there in zip(LABELS, row, strict=True) if is_there) for row in rows]


def _present(codes: np.ndarray, policy: str) -> np.ndarray:
    return (codes == POSITIVE) | ((codes == UNCERTAIN) & (policy == "positive"))
