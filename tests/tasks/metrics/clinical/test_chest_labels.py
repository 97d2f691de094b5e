import numpy as np
import pytest

from tasks.metrics.clinical.chest_labels import FIVE, LABELS, as_findings, label_scores


def codes(*rows: dict[str, int]) -> np.ndarray:
    return np.array([[row.get(label, 0) for label in LABELS] for row in rows])


REFERENCES = codes({"Edema": 1, "Fracture": 3}, {"Edema": 1, "Atelectasis": 2}, {"No Finding": 1})
PREDICTIONS = codes({"Edema": 1, "Fracture": 1}, {"Edema": 3, "Atelectasis": 3}, {"No Finding": 1})


def test_an_uncertain_label_counts_as_present():
    """By hand: 4 hits, 1 false alarm."""
    assert {score.metric: score.value for score in label_scores(REFERENCES, PREDICTIONS, ["a", "b", "c"])} == pytest.approx(
        {
            "micro-F1-14, uncertain positive": 8 / 9,
            "macro-F1-14 over supported labels, uncertain positive": 1.0,
            "macro-F1-14 over all labels, uncertain positive": 3 / 14,
            "micro-F1-5, uncertain positive": 4 / 5,
            "macro-F1-5 over supported labels, uncertain positive": 1.0,
            "macro-F1-5 over all labels, uncertain positive": 1 / 5,
        }
    )


def test_support_and_sums():
    scores = label_scores(REFERENCES, PREDICTIONS, ["a", "b", "c"])
    assert scores[0].details["support"] == {
        label: {"Edema": 2, "Fracture": 1, "No Finding": 1}.get(label, 0) for label in LABELS
    }
    assert set(scores[3].details["support"]) == set(FIVE)
    for score in scores:
        assert score.additive.value() == pytest.approx(score.value)


def test_no_label_no_value():
    nothing = codes({}, {})
    assert [score.value for score in label_scores(nothing, nothing, ["a", "b"])] == [None] * 6


def test_as_findings():
    assert as_findings(REFERENCES)[0] == {"Edema", "Fracture"}
