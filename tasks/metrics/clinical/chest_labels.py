"""The 14 labels of CheXpert (Irvin et al. 2019) as codes, and F1 of the labels of reports against those of their references.
A label is blank, positive, negative or uncertain, in the codes of CheXbert (Smit et al. 2020). An uncertain one counts as
present; published values differ in that choice, which moves F1 by several points, so that it is in the name."""

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
UNCERTAIN_AS = "positive"


class LabelScore(NamedTuple):
    """One F1 over a corpus; without `additive` where no reference shows any label."""

    metric: str
    details: Mapping[str, Any]
    additive: Additive | None

    @property
    def value(self) -> float | None:
        return None if self.additive is None else self.additive.value()


def label_counts(references: np.ndarray, predictions: np.ndarray) -> Counts:
    """Counts of codes (N, 14) against codes (N, 14)."""
    return Counts.of(as_findings(references), as_findings(predictions), LABELS)


def label_scores(references: np.ndarray, predictions: np.ndarray, patients: Sequence[str]) -> list[LabelScore]:
    """Micro and macro F1 over the 14 labels and over the 5 of CheXpert's competition, of codes (N, 14). Macro means run over
    the labels that the references show or, as in published values, over all: a label on neither side then counts as 0."""
    every = label_counts(references, predictions)
    scores = []
    for labels in (LABELS, FIVE):
        counts = every.select(labels)
        totals = counts.totals()
        support = dict(zip(labels, (totals[0] + totals[2]).tolist(), strict=True))
        details: dict[str, Any] = {"support": support, "uncertain": UNCERTAIN_AS}
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
            scores.append(LabelScore(f"{kind}, uncertain {UNCERTAIN_AS}", details | (more if shown else {}), additive))
    return scores


def as_findings(codes: np.ndarray) -> list[frozenset[str]]:
    """The labels that count as present, uncertain ones among them, of each row of codes (N, 14)."""
    present = (codes == POSITIVE) | (codes == UNCERTAIN)
    return [frozenset(label for label, is_there in zip(LABELS, row, strict=True) if is_there) for row in present]
