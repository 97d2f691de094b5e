import numpy as np
import pytest

from tasks.metrics.clinical.chest_labels import FIVE, LABELS, POLICIES, as_findings, label_counts, label_scores


def codes(*rows: dict[str, int]) -> np.ndarray:
    return np.array([[row.get(label, 0) for label in LABELS] for row in rows])


REFERENCES = codes({"Edema": 1, "Fracture": 3}, {"Edema": 1, "Atelectasis": 2}, {"No Finding": 1})
PREDICTIONS = codes({"Edema": 1, "Fracture": 1}, {"Edema": 3, "Atelectasis": 3}, {"No Finding": 1})


def values(policy: str) -> dict[str, float]:
    return {s.metric: s.value for s in label_scores(REFERENCES, PREDICTIONS, ["a", "b", "c"], policy)}


def test_policies_differ_and_say_so():
    """By hand. Positive: 4 hits, 1 false alarm. Negative: Edema 1 of 2, Fracture a false alarm. Omit: 2 hits alone."""
    assert values("positive") == pytest.approx(
        {
            "micro-F1-14, uncertain positive": 8 / 9,
            "macro-F1-14 over supported labels, uncertain positive": 1.0,
            "macro-F1-14 over all labels, uncertain positive": 3 / 14,
            "micro-F1-5, uncertain positive": 4 / 5,
            "macro-F1-5 over supported labels, uncertain positive": 1.0,
            "macro-F1-5 over all labels, uncertain positive": 1 / 5,
        }
    )
    assert values("negative") == pytest.approx(
        {
            "micro-F1-14, uncertain negative": 4 / 6,
            "macro-F1-14 over supported labels, uncertain negative": (2 / 3 + 1) / 2,
            "macro-F1-14 over all labels, uncertain negative": (2 / 3 + 1) / 14,
            "micro-F1-5, uncertain negative": 2 / 3,
            "macro-F1-5 over supported labels, uncertain negative": 2 / 3,
            "macro-F1-5 over all labels, uncertain negative": 2 / 3 / 5,
        }
    )
    omitted = values("omit")
    assert {value for name, value in omitted.items() if "all labels" not in name} == {1.0}
    assert omitted["macro-F1-14 over all labels, uncertain omit"] == pytest.approx(2 / 14)
    names = [set(values(policy)) for policy in POLICIES]
    assert not names[0] & names[1]
    assert not names[1] & names[2]


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


def test_refuses_other_policies():
    with pytest.raises(ValueError, match="not 'maybe'"):
        label_counts(REFERENCES, PREDICTIONS, "maybe")


def test_as_findings():
    assert as_findings(REFERENCES)[0] == {"Edema", "Fracture"}
    assert as_findings(REFERENCES, "negative")[0] == {"Edema"}
