from collections import Counter

import numpy as np
import pytest

from tasks.metrics.statistics.jackknife import GROUPS, patient_groups, standard_error, t_interval


def test_a_patient_has_one_group_everywhere():
    first, second = [f"p{i % 40}" for i in range(90)], [f"p{i}" for i in range(40)]
    groups = patient_groups([first, second], seed=1)
    table = dict(zip(second, groups[1], strict=True))
    assert [table[patient] for patient in first] == groups[0].tolist()


def test_groups_are_equal_but_for_one_on_each_side():
    sides = [[f"p{i}" for i in range(47)], [f"g{i}" for i in range(31)]]
    for side, groups in zip(sides, patient_groups(sides, seed=1), strict=True):
        sizes = Counter(groups.tolist())
        assert set(sizes) == set(range(GROUPS))
        assert max(sizes.values()) - min(sizes.values()) <= 1
        assert sum(sizes.values()) == len(side)


def test_the_seed_decides():
    side = [[f"p{i}" for i in range(47)]]
    first, again, other = (patient_groups(side, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_error_of_a_mean_is_the_known_one():
    """15 samples, one a group: the jackknife of a mean is s / sqrt(n), exactly."""
    values = np.random.default_rng(0).normal(size=15)
    replicates = np.array([np.delete(values, i).mean() for i in range(15)])
    assert standard_error(replicates) == pytest.approx(values.std(ddof=1) / np.sqrt(15), rel=1e-12)


def test_a_shift_of_all_replicates_is_no_spread():
    replicates = np.random.default_rng(0).normal(size=GROUPS)
    assert standard_error(replicates + 100) == pytest.approx(standard_error(replicates), rel=1e-9)


def test_interval_uses_students_t():
    from scipy import stats

    interval = t_interval(2.0, 0.5)
    half = 0.5 * stats.t.ppf(0.975, GROUPS - 1)
    assert (interval.low, interval.high) == pytest.approx((2 - half, 2 + half), rel=1e-12)
