from itertools import product

import numpy as np
import pytest
from scipy.stats import kstest

from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import Interval
from tasks.metrics.statistics.estimate import resampled
from tasks.metrics.statistics.paired import (
    BOOTSTRAP,
    INDEPENDENT,
    RANDOMISATION,
    TRAININGS,
    Difference,
    System,
    compare_all,
    holm,
    interval_of,
    reverse,
    value_of,
    verdict,
)


def mean(values, paired=True):
    return Additive.mean(values, [str(index) for index in range(len(values))], paired=paired)


def compare(one, other, **options):
    return compare_all({"one": System(one), "other": System(other)}, **({"seed": 0} | options))["one", "other"]


def test_the_interval_of_a_difference_of_means_is_that_of_the_mean_difference():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=50), generator.normal(size=50)
    found = compare([mean(one)], [mean(other)], resamples=2000)
    direct = mean(one - other).interval(seed=0)
    assert found.value == pytest.approx((one - other).mean())
    assert (found.interval.low, found.interval.high) == pytest.approx((direct.low, direct.high), abs=1e-9)
    assert (found.test, found.patients) == (RANDOMISATION, 50)


def test_p_is_that_of_all_swaps():
    """16 patients: 65,536 ways to swap can be counted."""
    generator = np.random.default_rng(3)
    one = generator.normal(0.5, 1, size=16)
    other = generator.normal(size=16)
    signs = np.array(list(product((1, -1), repeat=16)))
    exact = (np.abs((signs * (one - other)).mean(axis=1)) >= abs((one - other).mean()) - 1e-12).mean()
    assert compare([mean(one)], [mean(other)], permutations=40_000).p == pytest.approx(exact, abs=0.008)


def test_p_of_a_corpus_score_swaps_whole_patients():
    """A ratio of sums: swaps of patients by hand, each with all its samples."""
    generator = np.random.default_rng(5)
    patients = tuple(f"p{index // 2}" for index in range(32))
    sums = [np.stack([generator.integers(0, 9, 32), np.full(32, 9)], axis=1).astype(float) for _ in range(2)]
    one, other = (Additive(s, patients, "mean") for s in sums)
    by_patient = [s.reshape(16, 2, 2).sum(axis=1) for s in sums]
    flips = np.array(list(product((0, 1), repeat=16)), dtype=float)
    moved = [flips @ s for s in by_patient]
    totals = [s.sum(axis=0) for s in by_patient]
    first, second = totals[0] - moved[0] + moved[1], totals[1] - moved[1] + moved[0]
    differences = np.abs(first[:, 0] / first[:, 1] - second[:, 0] / second[:, 1])
    exact = (differences >= abs(one.value() - other.value()) - 1e-12).mean()
    assert compare([one], [other], permutations=40_000).p == pytest.approx(exact, abs=0.008)


def test_equal_systems_cannot_be_told_apart():
    values = np.random.default_rng(0).normal(size=40)
    found = compare([mean(values)], [mean(values)])
    assert (found.value, found.interval.low, found.interval.high, found.p) == (0, 0, 0, 1)
    assert verdict(found, found.p, True) == "not separable"


def test_p_is_uniform_where_nothing_differs_and_small_after_a_shift():
    generator = np.random.default_rng(7)
    p = []
    for _ in range(200):
        level = generator.normal(size=40)  # cases that are hard for both
        one, other = level + generator.normal(size=40), level + generator.normal(size=40)
        p.append(compare([mean(one)], [mean(other)], resamples=20, permutations=199).p)
    assert kstest(p, "uniform").pvalue > 0.01
    assert 0.01 < np.mean(np.array(p) <= 0.05) < 0.1
    shifted = compare([mean(one + 2)], [mean(other)])
    assert shifted.p == 1 / 10_000


def test_pairing_sees_what_intervals_apart_do_not():
    generator = np.random.default_rng(2)
    level = generator.normal(size=100)
    one, other = level + 0.05 + 0.05 * generator.normal(size=100), level + 0.05 * generator.normal(size=100)
    apart = [mean(values).interval(0) for values in (one, other)]
    assert apart[1].high > apart[0].low
    assert compare([mean(one)], [mean(other)]).p < 0.001


def test_the_interval_of_a_difference_covers_it():
    generator = np.random.default_rng(11)
    covered = []
    for _ in range(300):
        level = generator.normal(size=60)
        one, other = level + 0.3 + generator.normal(size=60), level + generator.normal(size=60)
        interval = compare([mean(one)], [mean(other)], resamples=400, permutations=1).interval
        covered.append(interval.low <= 0.3 <= interval.high)
    assert 0.90 <= np.mean(covered) <= 0.98


def test_a_pair_does_not_depend_on_who_else_is_compared():
    generator = np.random.default_rng(0)
    systems = {name: System([mean(generator.normal(size=30))]) for name in "abc"}
    every, alone = compare_all(systems, 0), compare_all({name: systems[name] for name in "ac"}, 0)
    assert list(every) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert every["a", "c"].p == alone["a", "c"].p
    assert every["a", "c"].interval.low == pytest.approx(alone["a", "c"].interval.low, abs=1e-12)


def test_samples_that_answer_no_case_are_not_paired():
    generator = np.random.default_rng(0)
    level = 10 * generator.normal(size=200)
    one, other = level + 0.5, level  # row by row a clear difference
    assert compare([mean(one)], [mean(other)]).p == 1 / 10_000
    found = compare([mean(one, paired=False)], [mean(other, paired=False)])
    assert found.test == INDEPENDENT
    assert found.p > 0.3
    width = found.interval.high - found.interval.low
    assert width == pytest.approx(2 * 1.96 * np.sqrt(2 * level.var() / 200), rel=0.1)


def test_several_trainings_are_averaged_and_widen_the_interval():
    generator = np.random.default_rng(4)
    level = generator.normal(size=80)
    trainings = [mean(level + shift) for shift in (-1.0, 1.0)]
    assert value_of(trainings) == pytest.approx(level.mean())
    patients = interval_of(System([mean(level)]), 0)
    found = interval_of(System(trainings), 0)
    half = 12.7062 * np.sqrt(2.0 / 2)  # t of one degree of freedom; the variance of (-1, 1) is 2
    assert found.low == pytest.approx(level.mean() - np.hypot(level.mean() - patients.low, half), rel=1e-4)
    assert found.high == pytest.approx(level.mean() + np.hypot(patients.high - level.mean(), half), rel=1e-4)


def test_samplings_of_one_checkpoint_say_nothing_of_other_trainings():
    level = np.random.default_rng(4).normal(size=80)
    entries = [mean(level + shift) for shift in (-1.0, 1.0)]
    once, twice = System(entries, ("w", "w")), System(entries, ("v", "w"))
    alone, both = interval_of(System([mean(level)]), 0), interval_of(once, 0)
    assert (both.low, both.high) == pytest.approx((alone.low, alone.high), abs=1e-8)
    other = System([mean(level - 9), mean(level - 8)], ("x", "y"))
    found = compare_all({"once": once, "twice": twice, "other": other}, 0)
    assert found["once", "other"].scope == "checkpoints"
    assert found["twice", "other"].scope == "methods"
    assert found["twice", "other"].interval.low < found["once", "other"].interval.low - 5


def test_equal_seeds_leave_the_interval_of_one():
    values = np.random.default_rng(4).normal(size=80)
    one, three = interval_of(System([mean(values)]), 0), interval_of(System([mean(values)] * 3), 0)
    assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=1e-8)


def test_a_difference_within_the_spread_of_seeds_is_no_difference():
    level = np.random.default_rng(0).normal(size=200)
    one = [mean(level + shift) for shift in (0.0, 0.2, 0.4)]
    other = [mean(level + shift) for shift in (0.05, 0.1, 0.35)]
    assert compare(one[:1], other[:1]).p == 1 / 10_000  # by chance of the first seed
    found = compare(one, other)
    assert (found.test, found.scope) == (TRAININGS, "methods")
    assert found.p > 0.3
    assert compare(one, [mean(level + shift - 2) for shift in (0.0, 0.2, 0.4)]).p < 0.05
    assert compare(one, [mean(level - 1)]).scope == "checkpoints"


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("value", "low", "high", "p", "up", "margin", "expected"),
    [
        (0.1, 0.05, 0.15, 0.01, True, None, "better"),
        (0.1, 0.05, 0.15, 0.01, False, None, "worse"),
        (-0.1, -0.15, -0.05, 0.01, True, 0.5, "worse"),  # significant comes first
        (0.1, 0.05, 0.15, 0.06, True, None, "not separable"),
        (-0.01, -0.03, 0.01, 0.4, True, 0.05, "non-inferior"),
        (-0.01, -0.06, 0.04, 0.4, True, 0.05, "not separable"),
        (0.01, -0.01, 0.03, 0.4, False, 0.05, "non-inferior"),
        (0.01, -0.04, 0.06, 0.4, False, 0.05, "not separable"),
    ],
)
def test_verdicts(value, low, high, p, up, margin, expected):
    difference = Difference(value, Interval(low, high), p, RANDOMISATION, 50)
    assert verdict(difference, p, up, margin) == expected


def test_a_margin_is_positive():
    with pytest.raises(ValueError, match="positive"):
        verdict(Difference(0.0, Interval(0.0, 0.0), 1.0, RANDOMISATION, 50), 1.0, True, 0.0)


def test_reversed():
    turned = reverse(Difference(0.1, Interval(0.05, 0.2), 0.01, RANDOMISATION, 50))
    assert (turned.value, turned.interval) == (-0.1, Interval(-0.2, -0.05))


def test_other_parameters_are_resampled_and_not_swapped():
    one, other = (
        Additive(np.ones((20, 2)), tuple(map(str, range(20))), "affine-mean", {"zero": 0.0, "one": one}) for one in (1.0, 2.0)
    )
    assert compare([one], [other]).test == BOOTSTRAP


def test_what_cannot_be_compared_is_refused():
    values = np.arange(20.0)
    with pytest.raises(ValueError, match="fewer than 15"):
        compare([mean(values[:14])], [mean(values[:14])])
    with pytest.raises(ValueError, match="sums of shape"):
        compare([mean(values)], [mean(values[:19])])
    with pytest.raises(ValueError, match="differ in combine"):
        compare([mean(values)], [Additive.proportion(values > 3, [str(i) for i in range(20)])])
    with pytest.raises(ValueError, match="not measured on the same patients"):
        compare([mean(values)], [Additive.mean(values, [f"x{i}" for i in range(20)])])
    with pytest.raises(ValueError, match="has no values"):
        compare([mean(values)], [])


def test_patients_without_samples_are_no_evidence_in_comparisons():
    there = np.zeros((30, 2))
    there[:3] = 1
    one, other = (Additive(there * [hit, 1], tuple(map(str, range(30))), "mean") for hit in (1, 0))
    assert interval_of(System([one]), 0).reason == "no interval: 3 patients, fewer than 15"
    with pytest.raises(ValueError, match="'b': no interval: 3 patients"):
        compare_all({"a": System([Additive.mean(np.ones(30), one.patients)]), "b": System([other])}, 0, 99, 99)


def test_every_independent_sample_is_large_enough():
    many = Additive.mean(np.arange(300.0), tuple(map(str, range(300))), paired=False)
    three = Additive.mean([1.0, 1.1, 1.2], ("0", "1", "2"), paired=False)
    with pytest.raises(ValueError, match="'b': no interval: 3 patients"):
        compare_all({"a": System([many]), "b": System([three])}, 0, 99, 99)


def test_a_small_independent_sample_is_studentised_beside_a_large_one():
    generator = np.random.default_rng(0)
    many = Additive.mean(generator.normal(size=400), tuple(map(str, range(400))), paired=False)
    few = Additive.mean(generator.normal(size=15), tuple(map(str, range(15))), paired=False)
    found = compare_all({"a": System([many]), "b": System([few])}, 0, 1999, 99)["a", "b"]
    drawn = resampled([many], 0, 1999).less(resampled([few], 1, 1999), paired=False)
    assert drawn.errors is not None
    plain = np.quantile(drawn.drawn, [0.025, 0.975])
    assert found.interval.high - found.interval.low > 1.05 * (plain[1] - plain[0])


def test_a_mean_over_trainings_stays_within_the_bounds_of_its_metric():
    patients = tuple(map(str, range(30)))
    entries = [
        Additive(np.stack([np.ones(30), np.zeros(30), np.arange(30) < misses], axis=1), patients, "micro-f1")
        for misses in (1, 6)
    ]
    interval = interval_of(System(entries), 0)
    assert 0 <= interval.low < interval.high == 1


def test_a_training_weighs_as_its_entries_do():
    patients = tuple(map(str, range(15)))
    entries = [Additive.mean(np.full(15, value), patients) for value in (1.0, 1.0, 1.0, 2.0)]
    (part,) = System(entries, ["a", "a", "a", "b"]).spread()
    assert part.variance == pytest.approx(0.5 * (0.75**2 + 0.25**2))
    assert part.degrees == 1


def test_equal_cases_tell_nothing_of_what_could_be_found():
    same = Additive.mean(np.ones(30), tuple(map(str, range(30))))
    for entries in ([same], [same, same]):
        found = compare_all({"a": System(entries), "b": System(entries)}, 0, 99, 99)["a", "b"]
        assert found.p == 1
        assert found.smallest_found(0.05) is None
