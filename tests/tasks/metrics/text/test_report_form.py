import pytest

from tasks.metrics.text.report_form import distinct, distinct_n, distinct_share, length_sums, mean_length, repetition_sums


def test_length_ratio():
    assert length_sums(["a b c d", "a"], ["a b", ""]).tolist() == [[2, 4], [0, 1]]


def test_repetition_is_within_a_report():
    sums = repetition_sums(["a b c d a b c d", "a b c d", "a b c", ""])
    assert sums.tolist() == [[1, 5], [0, 1], [0, 0], [0, 0]]


def test_distinct():
    assert distinct(["A  b", "a b", None, "", "c"]) == 3


def test_distinct_share_ignores_case_and_spacing():
    assert distinct_share(["The heart.", "the  heart.", "the lungs.", None, ""]) == pytest.approx(3 / 5)


def test_mean_length_counts_missing_as_none():
    assert mean_length(["a b c", ""]) == 1.5


def test_distinct_2():
    assert distinct_n(["a b a b", "b a"], 2) == pytest.approx(2 / 4)  # ab ba ab, ba
    assert distinct_n(["a", ""], 2) == 0
