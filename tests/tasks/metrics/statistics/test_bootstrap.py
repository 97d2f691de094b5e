from collections import Counter

import numpy as np
import pytest

from tasks.metrics.clinical.findings import Counts, macro_f1, macro_f1_of_sums
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import (
    GROUPS,
    by_patient,
    derangement,
    jackknife_error,
    jackknife_interval,
    patient_groups,
    resampling_weights,
)


def bootstrap_mean(values, patients, seed):
    return Additive.mean(values, patients).interval(seed)


def test_sums_by_patient():
    sums = np.array([[1.0, 1], [2, 1], [4, 1]])
    assert by_patient(sums, ["p", "q", "p"]).tolist() == [[5, 2], [2, 1]]


def test_interval_of_a_mean_is_the_normal_one_where_patients_are_samples():
    values = np.random.default_rng(0).normal(10, 2, size=400)
    interval = bootstrap_mean(values, [str(i) for i in range(400)], seed=0)
    error = values.std(ddof=1) / np.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_copies_of_a_patient_do_not_narrow_the_interval():
    values = np.random.default_rng(0).normal(size=60)
    patients = [str(i) for i in range(60)]
    once = bootstrap_mean(values, patients, seed=1)
    tenfold = bootstrap_mean(np.repeat(values, 10), np.repeat(patients, 10).tolist(), seed=1)
    assert tenfold.low == pytest.approx(once.low, abs=1e-6)
    assert tenfold.high == pytest.approx(once.high, abs=1e-6)


def test_is_seeded():
    values, patients = np.arange(40.0), [str(i) for i in range(40)]
    assert bootstrap_mean(values, patients, seed=5) == bootstrap_mean(values, patients, seed=5)
    assert bootstrap_mean(values, patients, seed=5) != bootstrap_mean(values, patients, seed=6)


def test_no_interval_below_fifteen_patients():
    interval = bootstrap_mean(np.arange(30.0), [str(i % 14) for i in range(30)], seed=0)
    assert (interval.low, interval.high) == (None, None)
    assert interval.reason == "no interval: 14 patients, fewer than 15"
    assert bootstrap_mean(np.arange(30.0), [str(i % 15) for i in range(30)], seed=0).low is not None


def test_macro_f1_from_sums_equals_macro_f1_of_the_resampled_samples():
    generator = np.random.default_rng(0)
    labels = ("a", "b")
    references = [frozenset(label for label in labels if generator.random() < 0.5) for _ in range(30)]
    predictions = [frozenset(label for label in labels if generator.random() < 0.5) for _ in range(30)]
    counts = Counts.of(references, predictions, labels)
    patients = [str(i) for i in range(30)]
    sums = np.concatenate(list(resampling_weights(30, 3, 50))) @ by_patient(counts.values.reshape(30, -1), patients)
    drawn = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30), size=50)
    for row, times in zip(sums, drawn, strict=True):
        chosen = np.repeat(np.arange(30), times)
        direct = Counts.of([references[i] for i in chosen], [predictions[i] for i in chosen], labels)
        assert macro_f1_of_sums(row[None], labels=2)[0] == pytest.approx(macro_f1(direct.totals()))


@pytest.mark.parametrize("kept", [True, False])
def test_weights_in_blocks_are_those_of_one_draw(monkeypatch, kept):
    monkeypatch.setattr("tasks.metrics.statistics.bootstrap._CHUNK", 100)
    monkeypatch.setattr("tasks.metrics.statistics.bootstrap._KEPT", 10**9 if kept else 0)
    blocks = list(resampling_weights(30, seed=9, resamples=10))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    drawn = np.random.default_rng(9).multinomial(30, np.full(30, 1 / 30), size=10)
    assert (np.concatenate(blocks) == drawn).all()


@pytest.mark.parametrize("count", [2, 3, 50])
def test_derangement_moves_everything(count):
    for seed in range(20):
        order = derangement(count, np.random.default_rng(seed))
        assert sorted(order) == list(range(count))
        assert (order != np.arange(count)).all()


def test_one_item_cannot_be_moved():
    with pytest.raises(ValueError, match="without fixed points"):
        derangement(1, np.random.default_rng(0))


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
    assert jackknife_error(replicates) == pytest.approx(values.std(ddof=1) / np.sqrt(15), rel=1e-12)


def test_a_shift_of_all_replicates_is_no_spread():
    replicates = np.random.default_rng(0).normal(size=GROUPS)
    assert jackknife_error(replicates + 100) == pytest.approx(jackknife_error(replicates), rel=1e-9)


def test_interval_uses_students_t():
    from scipy import stats

    interval = jackknife_interval(2.0, 0.5)
    half = 0.5 * stats.t.ppf(0.975, GROUPS - 1)
    assert (interval.low, interval.high) == pytest.approx((2 - half, 2 + half), rel=1e-12)
