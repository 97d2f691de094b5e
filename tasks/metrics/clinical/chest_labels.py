"""The 14 labels of CheXpert (Irvin et al. 2019) as codes, and F1 of the labels of reports against those of their references.

A label is blank, positive, negative or uncertain, in the codes of CheXbert (Smit et al. 2020). What an uncertain one counts as
moves F1 by several points, and published values differ in it, so that the policy is in the metric's name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.metrics.clinical.findings import Counts, f1, supported
from tasks.metrics.clinical.terms import read_terms
from tasks.metrics.statistics.additive import Additive

_TERMS = read_terms("chest_terms")
LABELS: tuple[str, ...] = tuple(_TERMS["labels"])
FIVE: tuple[str, ...] = tuple(_TERMS["five"])
BLANK, POSITIVE, NEGATIVE, UNCERTAIN = range(4)
SUPPORTED, ALL = "over supported labels", "over all labels"
POLICIES = ("positive", "negative", "omit")
"""What an uncertain label counts as: present, absent, or left out on both sides."""


@dataclass(frozen=True)
class LabelScore:
    """One F1 over a corpus.

    Attributes:
        metric: "micro-F1-14, uncertain positive", "macro-F1-14 over all labels, uncertain positive" and the like.
        value: None where no reference shows any label.
        details: labels averaged over, and how many references show each.
        additive: the sums it follows from.
    """

    metric: str
    value: float | None
    details: Mapping[str, Any]
    additive: Additive | None


def label_counts(references: np.ndarray, predictions: np.ndarray, policy: str) -> Counts:
    """Counts of codes (N, 14) against codes (N, 14) under an uncertainty policy.

    Raises:
        ValueError: another policy, or shapes that differ.
    """
    if policy not in POLICIES:
        raise ValueError(f"uncertain labels count as one of {POLICIES}, not '{policy}'")
    if references.shape != predictions.shape or references.shape[1:] != (len(LABELS),):
        raise ValueError(f"codes of shape {predictions.shape} against {references.shape}; (N, {len(LABELS)}) are needed")
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

    There are two macro means, and their names say which. Over the supported labels, those that the references show, each term
    is defined. Over all labels, as published values have it, a label on neither side counts as 0.
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
            name = f"{kind}, uncertain {policy}"
            if not shown:
                scores.append(LabelScore(name, None, details, None))
                continue
            additive = Additive(sums, tuple(patients), combine, parameters)
            scores.append(LabelScore(name, additive.value(), details | more, additive))
    return scores


def as_findings(codes: np.ndarray, policy: str = "positive") -> list[frozenset[str]]:
    """Labels that count as present, one set per row of codes (N, 14); `omit` keeps the positive ones only."""
    rows = _present(codes, policy)
    return [frozenset(label for label, is_there in zip(LABELS, row, strict=True) if is_there) for row in rows]


def agreement(references: np.ndarray, predictions: np.ndarray, policy: str = "positive") -> dict[str, float]:
    """F1 of each label that the references show, and "micro" and "macro" over them: how well two labellers agree."""
    counts = label_counts(references, predictions, policy)
    shown = supported(as_findings(references, policy), LABELS)
    by_label = dict(zip(LABELS, f1(counts.totals()).tolist(), strict=True))
    tp, fp, fn = counts.totals().sum(axis=1)
    return {label: by_label[label] for label in shown} | {
        "micro": float(2 * tp / (2 * tp + fp + fn)),
        "macro": float(np.mean([by_label[label] for label in shown])),
    }


def _present(codes: np.ndarray, policy: str) -> np.ndarray:
    return (codes == POSITIVE) | ((codes == UNCERTAIN) & (policy == "positive"))
