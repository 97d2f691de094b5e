import numpy as np
import pytest

from tasks.metrics.clinical.findings import (
    Counts,
    f1,
    macro_f1,
    macro_f1_of_sums,
    micro_f1_of_sums,
    precision,
    prevalence,
    recall,
    sample_f1,
    supported,
)

REFERENCES = [frozenset("ab"), frozenset("a"), frozenset(), frozenset("c")]
PREDICTIONS = [frozenset("a"), frozenset("ab"), frozenset("d"), frozenset("c")]
LABELS = ("a", "b", "c", "d")


def test_counts_by_hand():
    totals = Counts.of(REFERENCES, PREDICTIONS, LABELS).totals()
    assert totals.tolist() == [[2, 0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 0]]
    assert f1(totals).tolist() == [1, 0, 1, 0]
    assert precision(totals).tolist() == [1, 0, 1, 0]
    assert recall(totals).tolist() == [1, 0, 1, 0]
    assert micro_f1_of_sums(totals.sum(axis=1)[None])[0] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))


def test_macro_runs_over_supported_labels_only():
    labels = supported(REFERENCES)
    assert labels == ("a", "b", "c")
    assert macro_f1(Counts.of(REFERENCES, PREDICTIONS, labels).totals()) == pytest.approx(2 / 3)
    assert supported(REFERENCES, ("c", "d", "a")) == ("c", "a")
    assert supported([frozenset()]) == ()


def test_perfect_is_one_and_silence_is_zero():
    labels = supported(REFERENCES)
    assert macro_f1(Counts.of(REFERENCES, REFERENCES, labels).totals()) == 1
    assert macro_f1(Counts.of(REFERENCES, [frozenset()] * 4, labels).totals()) == 0


def test_sample_f1_of_normal_cases():
    assert sample_f1(Counts.of(REFERENCES, PREDICTIONS, LABELS)) == pytest.approx([2 / 3, 2 / 3, 0, 1])
    assert sample_f1(Counts.of([frozenset()], [frozenset()], LABELS)) == [1.0]


def test_prevalence():
    assert prevalence(REFERENCES, LABELS).tolist() == [0.5, 0.25, 0.25, 0]


def test_the_macro_mean_leaves_out_labels_that_a_resample_lost():
    totals = np.array([[[2, 0], [0, 1], [0, 0]], [[0, 0], [1, 1], [0, 0]]]).reshape(2, -1)
    values = macro_f1_of_sums(totals, labels=2)
    assert values[0] == 1
    assert np.isnan(values[1])


def test_refuses_misaligned_lists():
    with pytest.raises(ValueError, match="4 references but 3 predictions"):
        Counts.of(REFERENCES, PREDICTIONS[:3], LABELS)
