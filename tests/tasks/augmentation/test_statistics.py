import numpy as np
import pytest

from tasks.augmentation.statistics import NOT_RESOLVED, Crossed
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import RESAMPLES

PATIENTS = tuple(f"p{number}" for number in range(60))


def system(mean: float, seeds: int = 3, spread: float = 0.02, noise: int = 0) -> list[Additive]:
    """Values per patient around `mean`: the same patients' difficulty in every system, own noise of `noise`."""
    difficulty = np.random.default_rng(1).normal(0, 0.1, len(PATIENTS))
    own = np.random.default_rng([2, noise])
    return [
        Additive.mean(mean + difficulty - difficulty.mean() + own.normal(0, spread, len(PATIENTS)), PATIENTS)
        for _ in range(seeds)
    ]


def test_what_is_equal_differs_by_exactly_nothing():
    same = system(0.5)
    crossed = Crossed({"a": same, "b": same})
    difference = crossed.difference("a", "b")
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)
    equivalence = crossed.equivalence("a", "b", 0.02)
    assert equivalence.equivalent
    assert equivalence.p == pytest.approx(1 / (1 + RESAMPLES))


def test_a_difference_beyond_the_margin_is_not_equivalent_and_one_within_is():
    crossed = Crossed({"a": system(0.5), "near": system(0.505, noise=1), "far": system(0.55, noise=2)})
    assert crossed.equivalence("near", "a", 0.02).equivalent is True
    assert crossed.equivalence("far", "a", 0.02).equivalent is False
    assert crossed.difference("far", "a").low > 0.03


def test_patients_shared_by_the_arms_cancel():
    crossed = Crossed({"a": system(0.5, spread=0.001), "b": system(0.51, spread=0.001, noise=1)})
    alone, difference = crossed.value("a"), crossed.difference("b", "a")
    assert alone.high - alone.low > 0.03  # the patients' difficulty
    assert difference.high - difference.low < 0.003


def test_seeds_that_differ_widen_the_interval():
    steady, moving = system(0.5, spread=0), system(0.5, spread=0)
    moved = [np.add(one.sums, [[shift, 0]]) for one, shift in zip(moving, (-0.1, 0, 0.1), strict=True)]
    moving = [Additive(sums, PATIENTS, "mean") for sums in moved]
    crossed = Crossed({"steady": steady, "moving": moving})
    assert crossed.difference("moving", "steady").value == pytest.approx(0)
    assert crossed.difference("moving", "steady").low < -0.05


def test_relative_gain_is_in_per_cent_of_the_base():
    crossed = Crossed({"base": system(0.2, spread=0), "gain": system(0.25, spread=0)})
    relative = crossed.relative("gain", "base")
    assert relative.value == pytest.approx(25)
    assert relative.low < 25 < relative.high


def test_exchange_rate_reads_the_real_curve():
    """A curve that rises by 0.1 for 100 real pairs; 100 generated ones gain 0.05, so each is worth half a real one."""
    arms = {"none": system(0.4, spread=0), "100": system(0.5, spread=0), "200": system(0.6, spread=0)}
    crossed = Crossed(
        arms | {"synthetic": system(0.45, spread=0), "beyond": system(0.7, spread=0), "worse": system(0.3, spread=0)}
    )
    curve = {"none": 0, "100": 100, "200": 200}
    half = crossed.exchange("synthetic", 100, curve)
    assert half.rate == pytest.approx(0.5)
    assert half.low == pytest.approx(0.5)
    assert crossed.exchange("worse", 100, curve).rate == 0
    assert crossed.exchange("beyond", 100, curve).reason.startswith(f"{NOT_RESOLVED}: worth more than the 2")


def test_exchange_rate_is_not_resolved_on_a_flat_curve():
    arms = {"none": system(0.4), "100": system(0.4, noise=1), "synthetic": system(0.5, noise=2)}
    exchange = Crossed(arms).exchange("synthetic", 100, {"none": 0, "100": 100})
    assert exchange.rate is None
    assert "gain nothing" in exchange.reason
    assert Crossed(arms).exchange("synthetic", 100, {"none": 0}).reason.startswith(NOT_RESOLVED)


def test_few_patients_have_values_and_no_intervals():
    few = {name: [Additive.mean([value] * 5, PATIENTS[:5])] for name, value in (("a", 0.5), ("b", 0.4))}
    crossed = Crossed(few)
    assert crossed.difference("a", "b").value == pytest.approx(0.1)
    assert crossed.difference("a", "b").low is None
    assert crossed.equivalence("a", "b", 0.2).equivalent is None
    assert "fewer than 15" in crossed.value("a").reason


def test_arms_of_different_seeds_are_no_comparison():
    with pytest.raises(ValueError, match="different seeds"):
        Crossed({"a": system(0.5), "b": system(0.5, seeds=2)})


def test_rounding_errors_are_no_difference():
    """BLEU-4 of texts without a common 4-gram is some 1e-15, and 3e-15 is not three times better."""
    arms = {name: [Additive.mean([tiny] * len(PATIENTS), PATIENTS)] for name, tiny in (("a", 1e-15), ("b", 3e-15))}
    crossed = Crossed(arms)
    assert (crossed.difference("b", "a").value, crossed.difference("b", "a").p) == (0, 1)
    assert crossed.relative("b", "a").reason == "no relative gain: a has 0"


def test_a_relative_gain_that_hangs_on_one_seed_has_no_p():
    """Without the third seed the base has 0: nothing is known of what seeds add, where NaN once passed for significant."""
    patients = tuple(map(str, range(30)))
    base = [Additive.mean(np.full(30, value), patients) for value in (0.0, 0.0, 0.5)]
    arm = [Additive.mean(np.arange(30) / 30, patients)] * 3
    found = Crossed({"arm": arm, "base": base}, resamples=99).relative("arm", "base")
    assert (found.low, found.p) == (None, None)
    assert "without one of the trainings" in found.reason
