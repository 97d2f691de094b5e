import numpy as np
import pytest

from tasks.metrics.clinical.findings import macro_f1
from tasks.metrics.pair.consistency import (
    Scale,
    _mcc,
    additive_agreement,
    additive_label_mcc,
    additive_mcc,
    agreement,
    co_occurrence,
    prevalence_errors,
    scales_of,
)
from tasks.metrics.statistics.additive import Additive

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


def readings(tp, fp, fn, tn):
    """Findings of images and of reports with these counts of label a."""
    shown = [(1, 1)] * tp + [(1, 0)] * fp + [(0, 1)] * fn + [(0, 0)] * tn
    return tuple([frozenset("a") if pair[side] else frozenset() for pair in shown] for side in (0, 1))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((6, 3, 1, 2), (6 * 2 - 3 * 1) / (9 * 7 * 5 * 3) ** 0.5),  # by hand: 9 / sqrt(945)
        ((5, 0, 0, 5), 1.0),
        ((0, 5, 5, 0), -1.0),
        ((4, 4, 4, 4), 0.0),
    ],
)
def test_mcc_of_a_table(table, expected):
    images, reports = readings(*table)
    ids = [str(index) for index in range(len(images))]
    counts = agreement(images, reports, ("a",))
    assert additive_label_mcc(counts, "a", ids).value() == pytest.approx(expected)
    assert additive_mcc(counts, ids).value() == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_mcc_of_rounded_sums_warns_of_nothing():
    """A step of the linearisation may leave -1e-16 samples in a cell."""
    assert np.isnan(_mcc(*(np.array([value]) for value in (3.0, 0.0, 2.0, -1e-16)))).all()


def test_mcc_does_not_rise_with_prevalence_as_agreement_does():
    """Independent readings of prevalence p agree at F1 = p; their MCC is 0."""
    images, reports = readings(81, 9, 9, 1)
    counts = agreement(images, reports, ("a",))
    assert macro_f1(counts.totals()) == pytest.approx(0.9)
    assert additive_mcc(counts, [str(i) for i in range(100)]).value() == pytest.approx(0)


def test_a_label_that_all_show_or_none_has_no_mcc_and_counts_nothing_in_the_macro():
    images, reports = [frozenset("ab")] * 2 + [frozenset("b")] * 2, [frozenset("ab")] * 2 + [frozenset("b")] * 2
    counts, ids = agreement(images, reports, LABELS), ["0", "1", "2", "3"]
    assert additive_label_mcc(counts, "a", ids).value() == 1
    assert np.isnan(additive_label_mcc(counts, "b", ids).value())
    additive = additive_mcc(counts, ids)
    assert additive.value() == pytest.approx(1 / 3)  # a, b, c at 1, 0, 0
    lost = additive.evaluate(4 * additive.sums[:1])  # a resample that shows a in every sample: a is left out
    assert lost == pytest.approx(0)
    assert not additive.paired


def test_the_scale_puts_real_at_one_and_shuffled_at_chance():
    """Independent modalities with prevalence p agree at F1 = p, and correlate at 0."""
    findings = draw(1000, 0)
    patients = [str(index // 2) for index in range(1000)]
    scales = scales_of(findings, findings, LABELS, patients, seed=0)
    for name, shuffled in (("agreement", 0.3), ("macro-mcc", 0.0)):
        scale = scales[name]
        assert scale.real == 1
        assert scale.shuffled == pytest.approx(shuffled, abs=0.02)
        assert scale.high >= scale.shuffled
        assert scale.anchored(1) == pytest.approx(1)
        assert scale.anchored(scale.shuffled) == 0
        assert scale.problem is None


def test_ends_that_cannot_be_told_apart_are_no_scale():
    assert "cannot be told apart: real 0.310, at least 0.250" in Scale(0.31, 0.3, 0.25, 0.33).problem
    assert "cannot be told apart" in Scale(0.35, 0.3, 0.33, 0.33).problem
    assert Scale(0.36, 0.3, 0.34, 0.33).problem is None
    few = scales_of(draw(10, 0), draw(10, 0), LABELS, [str(index) for index in range(10)], seed=0)
    assert few["agreement"].problem == "real and shuffled pairs cannot be told apart: no interval: 10 patients, fewer than 15"


def test_unrelated_modalities_have_no_scale():
    scales = scales_of(draw(200, 0), draw(200, 1), LABELS, [str(index) for index in range(200)], seed=0)
    assert all("cannot be told apart" in scale.problem for scale in scales.values())


def test_a_statistic_put_on_a_scale_is_the_same_function_of_the_same_sums():
    plain = Additive.mean([1.0, 2.0, 4.0], ["0", "1", "2"], paired=False)
    put = Scale(3.0, 1.0, 2.5, 1.2).put(plain)
    assert put.value() == pytest.approx((7 / 3 - 1) / 2)
    assert put.evaluate(2 * plain.sums) == pytest.approx((plain.evaluate(2 * plain.sums) - 1) / 2)
    assert (put.patients, put.paired) == (plain.patients, False)


def test_co_occurrence_is_of_all_pairs_of_labels():
    shown = [frozenset("ab"), frozenset("ab"), frozenset("bc"), frozenset("c")]
    assert co_occurrence(shown, LABELS).tolist() == [0.5, 0, 0.25]


def test_prevalence_errors_are_signed():
    data, samples = [frozenset("ab"), frozenset("a")], [frozenset("b"), frozenset("b")]
    assert prevalence_errors(samples, data, LABELS).tolist() == [-1, 0.5, 0]
