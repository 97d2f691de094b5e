import numpy as np
import pytest

from tasks.metrics.consistency import Scale, additive_agreement, agreement, prevalence_errors, scale_of
from tasks.metrics.findings import macro_f1

LABELS = ("a", "b", "c")


def draw(count, seed):
    generator = np.random.default_rng(seed)
    return [frozenset(label for label in LABELS if generator.random() < 0.3) for _ in range(count)]


def test_agreement_is_symmetric():
    first, second = draw(50, 0), draw(50, 1)
    forth, back = (agreement(x, y, LABELS).totals() for x, y in ((first, second), (second, first)))
    assert macro_f1(forth) == pytest.approx(macro_f1(back))


def test_all_normal_pairs_agree_on_nothing():
    normal = [frozenset()] * 10
    assert macro_f1(agreement(normal, normal, LABELS).totals()) == 0


def test_a_label_that_a_resample_lost_is_left_out_and_one_never_shown_is_not():
    counts = agreement([frozenset("a"), frozenset("b")], [frozenset("a"), frozenset("b")], LABELS)
    additive = additive_agreement(counts, ["0", "1"])
    first, second = counts.values.reshape(2, -1)
    values = additive.evaluate(np.stack([first + second, 2 * first]))
    assert values == pytest.approx([2 / 3, 1 / 2])  # a, b, c at 1, 1, 0; then a, c at 1, 0


def test_scale_puts_real_at_one_and_shuffled_at_the_prevalence():
    """Independent modalities with prevalence p agree at F1 = p."""
    findings = draw(2000, 0)
    scale = scale_of(findings, findings, LABELS, seed=0)
    assert scale.real == 1
    assert scale.shuffled == pytest.approx(0.3, abs=0.02)
    assert scale.anchored(1) == pytest.approx(1)
    assert scale.anchored(scale.shuffled) == 0
    assert scale.problem is None


def test_scale_without_a_span_says_so():
    assert "a span below 0.05" in Scale(real=0.31, shuffled=0.3).problem
    assert Scale(real=0.36, shuffled=0.3).problem is None


def test_prevalence_errors_are_signed():
    data, samples = [frozenset("ab"), frozenset("a")], [frozenset("b"), frozenset("b")]
    assert prevalence_errors(samples, data, LABELS).tolist() == [-1, 0.5, 0]
