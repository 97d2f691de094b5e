import numpy as np
import pytest

from tasks.metrics.text.ngrams import References
from tasks.metrics.text.rouge import common_length, rouge_l, rouge_package


def one(reference: str, hypothesis: str) -> float:
    return float(rouge_l(References([reference]), [hypothesis])[0])


def test_recall_weighs_more():
    """LCS 6 of 6 and of 7 tokens, beta 1.2: (1 + 1.44) P R / (R + 1.44 P) with P = 6/7, R = 1. F1 would be 0.92308."""
    longer = one("the cat sat on the mat", "the cat was sat on the mat")
    assert longer == pytest.approx(2.44 * (6 / 7) / (1 + 1.44 * 6 / 7), abs=1e-12)
    assert longer == pytest.approx(0.93606, abs=5e-6)
    assert pytest.approx(0.92308, abs=5e-6) == 2 * (6 / 7) / (1 + 6 / 7)
    assert one("the cat was sat on the mat", "the cat sat on the mat") < longer


def test_empty_texts():
    """An empty text is one empty token: two of them agree, as in pycocoevalcap."""
    assert (one("", ""), one("a", ""), one("", "a")) == (1.0, 0.0, 0.0)


def test_common_subsequences_against_the_table():
    generator = np.random.default_rng(0)
    for _ in range(40):
        first, second = (list(generator.choice(list("abcdefg"), size=int(generator.integers(1, 40)))) for _ in range(2))
        table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
        positions = References([" ".join(first)]).positions[0]
        assert common_length(positions, len(first), second) == table[-1, -1]


# What `rouge` 1.0.1 gives.
@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        (
            "the heart is enlarged. no effusion is seen.",
            "the heart is enlarging. no effusions are seen",
            (0.6666666616888889, 0.2857142807142858, 0.6666666616888889),
        ),
        (
            "nodule of 5.5 cm in the left lung. the left lung is otherwise clear.",
            "the left lung is clear. nodule of 5.5 cm. the nodule",
            (0.8999999950500001, 0.6086956471833649, 0.8999999950500001),
        ),
        (
            "no pneumothorax. no effusion. no consolidation.",
            "no consolidation . no effusion . no pneumothorax .",
            (0.999999995, 0.7999999950000002, 0.999999995),
        ),
        (
            "fibrous stroma\nwith glands. mitoses are rare.",
            "stroma with\nglands and rare mitoses.. . end",
            (0.6666666616888889, 0.3076923027218935, 0.5333333283555556),
        ),
        ("clear lungs.", "normal", (0.0, 0.0, 0.0)),
    ],
)
def test_values_of_the_package(reference, hypothesis, expected):
    assert rouge_package(reference, hypothesis) == pytest.approx(expected, abs=1e-12)


def test_the_package_gives_up_on_full_stops_alone():
    assert rouge_package("clear.", "...") is None
    assert rouge_package("", "clear") is None
