"""Findings of a reference against findings read from a prediction: F1 by label, macro and micro, and prevalence.

A label is *supported* where at least one reference shows it. The macro mean runs over the supported labels only, so it has the
same terms for every system on the same cases, and each term is defined. A false alarm on an unsupported label costs
nothing there; the micro F1, which pools every label, counts it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.metrics.statistics.additive import combiner

Findings = Sequence[frozenset[str]]


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives of N samples and L labels: int64 (N, 3, L)."""

    labels: tuple[str, ...]
    values: np.ndarray

    @classmethod
    def of(cls, references: Findings, predictions: Findings, labels: Sequence[str]) -> "Counts":
        """Counts over `labels`; findings beyond them are ignored."""
        reference, predicted = _indicators(references, labels), _indicators(predictions, labels)
        if reference.shape != predicted.shape:
            raise ValueError(f"{len(references)} references but {len(predictions)} predictions")
        both = reference & predicted
        return cls(tuple(labels), np.stack([both, predicted & ~reference, reference & ~predicted], axis=1).astype(np.int64))

    def totals(self) -> np.ndarray:
        """Summed over samples: (3, L)."""
        return self.values.sum(axis=0)

    def select(self, labels: Sequence[str]) -> "Counts":
        """The same samples, of these labels only."""
        return Counts(tuple(labels), self.values[:, :, [self.labels.index(label) for label in labels]])


def supported(references: Findings, labels: Sequence[str] | None = None) -> tuple[str, ...]:
    """The labels (of `labels`, in its order; by default any, sorted) that at least one reference shows."""
    shown = frozenset().union(*references)
    return tuple(label for label in (sorted(shown) if labels is None else labels) if label in shown)


def f1(totals: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of totals (..., 3, L) -> (..., L); 0 where a label occurs on neither side."""
    tp, fp, fn = totals[..., 0, :], totals[..., 1, :], totals[..., 2, :]
    return _ratio(2 * tp, 2 * tp + fp + fn)


def precision(totals: np.ndarray) -> np.ndarray:
    """TP / (TP + FP) of totals (..., 3, L) -> (..., L); 0 where nothing was predicted."""
    return _ratio(totals[..., 0, :], totals[..., 0, :] + totals[..., 1, :])


def recall(totals: np.ndarray) -> np.ndarray:
    """TP / (TP + FN) of totals (..., 3, L) -> (..., L); 0 where no reference shows the label."""
    return _ratio(totals[..., 0, :], totals[..., 0, :] + totals[..., 2, :])


def macro_f1(totals: np.ndarray) -> np.ndarray:
    """Unweighted mean of the labels' F1: totals (..., 3, L) -> (...)."""
    return f1(totals).mean(axis=-1)


@combiner("macro-f1", bounds=(0, 1))
def macro_f1_of_sums(sums: np.ndarray, *, labels: int) -> np.ndarray:
    """Macro F1 of TP, FP, FN of L labels, (R, 3 L) -> (R,), over the labels that the (resampled) references support."""
    return _macro_of(f1, sums, labels)


@combiner("macro-f1-all", bounds=(0, 1))
def macro_f1_of_all_sums(sums: np.ndarray, *, labels: int) -> np.ndarray:
    """The same over all L labels: one on neither side counts as 0."""
    return macro_f1(sums.reshape(len(sums), 3, labels))


@combiner("macro-precision", bounds=(0, 1))
def macro_precision_of_sums(sums: np.ndarray, *, labels: int) -> np.ndarray:
    """Macro precision over the labels that the references support: (R, 3 L) -> (R,)."""
    return _macro_of(precision, sums, labels)


@combiner("macro-recall", bounds=(0, 1))
def macro_recall_of_sums(sums: np.ndarray, *, labels: int) -> np.ndarray:
    """Macro recall over the labels that the references support: (R, 3 L) -> (R,)."""
    return _macro_of(recall, sums, labels)


@combiner("micro-f1", bounds=(0, 1))
def micro_f1_of_sums(sums: np.ndarray) -> np.ndarray:
    """F1 of pooled TP, FP, FN (R, 3) -> (R,); 0 where there are none."""
    return f1(sums[:, :, None])[:, 0]


@combiner("label-f1", bounds=(0, 1))
def label_f1_of_sums(sums: np.ndarray) -> np.ndarray:
    """F1 of one label's TP, FP, FN (R, 3) -> (R,); NaN where no reference shows it."""
    return np.where(sums[:, 0] + sums[:, 2] > 0, micro_f1_of_sums(sums), np.nan)


def _macro_of(measure: Callable[[np.ndarray], np.ndarray], sums: np.ndarray, labels: int) -> np.ndarray:
    totals = sums.reshape(len(sums), 3, labels)
    support = totals[:, 0] + totals[:, 2] > 0
    return np.divide(
        (measure(totals) * support).sum(axis=1), support.sum(axis=1), out=np.full(len(sums), np.nan), where=support.any(axis=1)
    )


def sample_f1(counts: Counts) -> list[float]:
    """F1 of each sample over its labels (example-based); 1 where neither side shows a label."""
    tp, fp, fn = counts.values.sum(axis=2).T
    return [1.0 if not total else float(2 * hit / total) for hit, total in zip(tp, 2 * tp + fp + fn, strict=True)]


def prevalence(findings: Findings, labels: Sequence[str]) -> np.ndarray:
    """Share of samples that show each label, (L,)."""
    return _indicators(findings, labels).mean(axis=0)


def _indicators(findings: Findings, labels: Sequence[str]) -> np.ndarray:
    return np.array([[label in shown for label in labels] for shown in findings], dtype=bool).reshape(
        len(findings), len(labels)
    )


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=denominator > 0)
