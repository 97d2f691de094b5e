from tasks.metrics.text.report_form import distinct, length_sums, repetition_sums


def test_length_ratio():
    assert length_sums(["a b c d", "a"], ["a b", ""]).tolist() == [[2, 4], [0, 1]]


def test_repetition_is_within_a_report():
    sums = repetition_sums(["a b c d a b c d", "a b c d", "a b c", ""])
    assert sums.tolist() == [[1, 5], [0, 1], [0, 0], [0, 0]]


def test_distinct():
    assert distinct(["A  b", "a b", None, "", "c"]) == 3
