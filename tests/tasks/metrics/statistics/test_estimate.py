"""The one rule behind every verdict, against scipy, by hand, and by how often its intervals hold what is true."""

import numpy as np
import pytest
from scipy.stats import bootstrap, norm, ttest_rel

from tasks.fine_detail.limits import smallest_seen
from tasks.metrics.clinical.findings import Counts
from tasks.metrics.statistics.additive import Additive, combiner
from tasks.metrics.statistics.bootstrap import resampling_weights
from tasks.metrics.statistics.estimate import MANY, Estimate, Resampled, Trainings, of_mean, resampled


@combiner("share", bounds=(0, 1))
def share(sums):
    return sums[:, 0] / sums[:, 1]


@combiner("undefined")
def undefined(sums):
    return np.full(len(sums), np.nan)


def names(count):
    return tuple(map(str, range(count)))


def test_many_patients_have_the_percentile_interval_of_scipy():
    values = np.random.default_rng(0).exponential(size=MANY)
    ours = Additive.mean(values, names(MANY)).interval(0, resamples=4000)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, random_state=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_few_patients_have_the_studentised_interval_by_hand():
    values = np.random.default_rng(0).exponential(size=20)
    found = Additive.mean(values, names(20)).interval(seed=3, resamples=500)
    weights = np.concatenate(list(resampling_weights(20, 3, 500)))
    means = weights @ values / 20
    errors = np.sqrt((weights * (values - means[:, None]) ** 2).sum(axis=1)) / 20
    t = np.quantile((means - values.mean()) / errors, [0.025, 0.975])
    error = values.std() / np.sqrt(20)
    assert (found.low, found.high) == pytest.approx((values.mean() - t[1] * error, values.mean() - t[0] * error), rel=1e-5)


def test_the_standard_error_of_a_macro_f1_is_that_of_the_jackknife():
    generator = np.random.default_rng(2)
    labels = ("a", "b", "c")
    drawn = [[frozenset(label for label in labels if generator.random() < 0.4) for _ in range(100)] for _ in range(2)]
    additive = Additive(Counts.of(*drawn, labels).values.reshape(100, -1), names(100), "macro-f1", {"labels": 3})
    left = additive.evaluate(additive.sums.sum(axis=0) - additive.sums)
    jackknife = np.sqrt(99 / 100 * ((left - left.mean()) ** 2).sum())
    assert resampled([additive], 0, 10).errors[-1] == pytest.approx(jackknife, rel=0.03)


def test_a_statistic_that_is_not_smooth_keeps_percentiles():
    assert smallest_seen.__module__ == "tasks.fine_detail.limits"  # registers it
    sums = np.column_stack([np.ones((30, 2)), np.ones(30)])
    additive = Additive(sums, names(30), "smallest-seen", {"sizes": [1.0, 2.0], "level": 0.5})
    assert resampled([additive], 0, 10).errors is None
    assert additive.method.startswith("percentile")


def test_few_patients_have_wilsons_interval_of_what_lies_between_bounds():
    """Of a share of single samples it is Wilson's own, with t for z."""
    hits = np.array([1.0] * 12 + [0.0] * 8)
    found = Additive(np.stack([hits, np.ones(20)], axis=1), names(20), "share").interval(0)
    c, n, x = 2.0930, 19, 0.6  # an unbiased variance: 19 of the 20
    centre, half = (x + c**2 / (2 * n)) / (1 + c**2 / n), c / (1 + c**2 / n) * np.sqrt(x * (1 - x) / n + c**2 / (4 * n**2))
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-4)


def test_a_perfect_f1_of_few_patients_is_not_certain():
    counts = np.zeros((20, 3))
    counts[:5, 0] = 1  # five patients show the label, all found
    interval = Additive(counts, names(20), "micro-f1").interval(0)
    c = 2.7764
    assert (interval.low, interval.high) == (pytest.approx(5 / (5 + c**2), abs=1e-3), 1.0)


@pytest.mark.parametrize("patients", [15, 30])
def test_a_rare_label_is_covered(patients):
    """0.8 by percentiles."""
    generator, held, chances = np.random.default_rng(1), [], [0.19, 0.016, 0.01]
    for _ in range(400):
        counts = generator.multinomial(2, [*chances, 1 - sum(chances)], size=patients)[:, :3].astype(float)
        if counts[:, [0, 2]].any():
            interval = Additive(counts, names(patients), "micro-f1").interval(0)
            held.append(interval.low <= 2 * 0.19 / (2 * 0.19 + 0.026) <= interval.high)
    assert np.mean(held) >= 0.93


def test_one_patient_who_differs_gives_a_wide_interval_and_no_endless_one():
    """A third of the resamples miss the one patient, and have no spread at all."""
    values = np.ones(17)
    values[4] = 0.64
    interval = Additive.mean(values, names(17)).interval(0)
    assert 0.6 < interval.low < 0.94
    assert 0.98 < interval.high < 1.3


def test_a_statistic_that_is_never_defined_has_no_interval():
    interval = Additive(np.ones((20, 1)), names(20), "undefined").interval(0)
    assert (interval.low, interval.reason) == (None, "no interval: undefined on every resample")


@pytest.mark.parametrize("patients", [15, 30])
@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_short_samples_are_covered(patients, draw):
    generator, truth = np.random.default_rng(5), {"normal": 0.0, "exponential": 1.0}[draw]
    held = []
    for _ in range(500):
        interval = Additive.mean(getattr(generator, draw)(size=patients), names(patients)).interval(0, resamples=499)
        held.append(interval.low <= truth <= interval.high)
    assert np.mean(held) >= 0.915  # 0.94 is what thousands of runs give; three standard errors below 0.945


def test_over_trainings_alone_it_is_students():
    one, other = np.array([50.0, 61.0, 55.0]), np.array([40.0, 47.0, 44.0])
    estimate = Estimate(float((one - other).mean()), np.full(999, (one - other).mean()), of_mean((one - other).tolist()))
    expected = ttest_rel(one, other)
    bounds = expected.confidence_interval()
    interval = estimate.interval()
    assert (interval.low, interval.high) == pytest.approx((bounds.low, bounds.high))
    assert estimate.p() == pytest.approx(expected.pvalue, rel=1e-6)


def test_both_parts_are_added_in_quadrature():
    ends = norm.ppf((np.arange(9999) + 0.5) / 9999)  # over patients: +-1.96
    interval = Estimate(0.0, ends, (Trainings(0.25, 2), Trainings(0.01, 4))).interval()
    half = np.sqrt(1.96**2 + 4.3027**2 * 0.25 + 2.7764**2 * 0.01)
    assert (interval.low, interval.high) == pytest.approx((-half, half), rel=1e-3)


def test_p_is_the_level_at_which_the_interval_ends_at_the_null():
    ends = np.sort(np.random.default_rng(0).normal(1.0, 0.3, 4999))
    for trainings in ((), (Trainings(0.04, 2),)):
        estimate = Estimate(1.0, ends, trainings)
        p = estimate.p(0.4)
        interval = estimate.interval(1 - p)
        assert min(abs(interval.low - 0.4), abs(interval.high - 0.4)) < 2e-3
        assert estimate.p_beyond(0.4, above=True) == pytest.approx(p / 2)
        assert estimate.p_beyond(0.4, above=False) == pytest.approx(1 - p / 2)


def test_the_smallest_found_is_found_in_80_per_cent():
    """Of two means with known spread: z of 1.96 + 0.84 standard errors."""
    ends = 0.1 * norm.ppf((np.arange(9999) + 0.5) / 9999)
    assert Estimate(0.0, ends).smallest_found(0.05) == pytest.approx(0.28, rel=0.03)
    with_two = Estimate(0.0, ends, (Trainings(0.01, 1),)).smallest_found(0.05)
    with_five = Estimate(0.0, ends, (Trainings(0.01, 4),)).smallest_found(0.05)
    assert with_two > 3 * with_five > 3 * 0.28


def test_independent_samples_add_their_errors():
    one, other = (Resampled(float(v), np.zeros(3), np.eye(4, 2), np.ones((4, 2))) for v in (1, 2))
    paired, apart = one.less(other), one.less(other, paired=False)
    assert paired.errors[-1] == 0
    assert apart.errors == pytest.approx(np.sqrt(2) * one.errors)


def test_what_is_undefined_is_never_significant():
    ends = np.linspace(1, 2, 99)
    for estimate in (Estimate(1.5, ends, (Trainings(float("nan"), 2),)), Estimate(float("nan"), ends)):
        assert estimate.p() == 1
        assert estimate.interval().low is None
        assert estimate.smallest_found(0.05) is None


def test_no_difference_is_found_below_the_least_p():
    ends = np.linspace(-1, 1, 99)
    assert Estimate(0.0, ends).smallest_found(0.05) is not None
    assert Estimate(0.0, ends).smallest_found(0.01) is None
