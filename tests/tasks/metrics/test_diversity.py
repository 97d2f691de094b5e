import pytest

from tasks.metrics.diversity import distinct_n, distinct_share, mean_length


def test_distinct_share_ignores_case_and_spacing():
    assert distinct_share(["The heart.", "the  heart.", "the lungs.", None, ""]) == pytest.approx(3 / 5)


def test_mean_length_counts_missing_as_none():
    assert mean_length(["a b c", ""]) == 1.5


def test_distinct_2():
    assert distinct_n(["a b a b", "b a"], 2) == pytest.approx(2 / 4)  # ab ba ab, ba
    assert distinct_n(["a", ""], 2) == 0
