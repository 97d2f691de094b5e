"""Arms against their bases: endpoints by hand, intervals that must find or miss a shift, signs against the paper's."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from benchmark.ablation.changes import (
    ENDPOINTS,
    ONE_TRAINING,
    OVER_BOTH,
    PRIMARY,
    Interval,
    change,
    change_of_trainings,
    change_of_values,
    comparable,
    sign,
    value_over_seeds,
    verdict,
)
from tasks.metrics.statistics.additive import Additive

PATIENTS = 40


def evaluation(shift: float = 0.0, seed: int = 0, noise: float = 0.0) -> dict:
    """Nats of 40 patients' pairs around 100 for the image and 20 for the report."""
    own, drawn = np.random.default_rng(1), np.random.default_rng(seed)
    nats = own.normal([100.0, 20.0], [10.0, 4.0], (PATIENTS, 2)) + drawn.normal(0, noise, (PATIENTS, 2))
    nats[:, 0] += shift
    return {
        "nats": {condition: nats.tolist() for condition in ("joint", "report|image", "image|report")},
        "report_tokens": [10] * PATIENTS,
        "canvas": {"image_tokens": 64, "report_tokens": 16},
        "patients": list(range(PATIENTS)),
        "settings": {"draws": 8},
        "data_fingerprint": "d",
        "image_tokenizer": "i",
        "report_tokenizer": "r",
        "truncated": 0,
    }


def joint(shift: float = 0.0, seed: int = 0, noise: float = 0.0) -> Additive:
    return PRIMARY.additive(evaluation(shift, seed, noise))


def test_endpoints_by_hand():
    said = evaluation() | {
        "nats": {
            "joint": [[10.0, 4.0], [20.0, 8.0]],
            "report|image": [[0.0, 3.0], [0.0, 9.0]],
            "image|report": [[8.0 * math.log(2), 0.0], [16.0 * math.log(2), 0.0]],
        },
        "report_tokens": [2, 4],
        "canvas": {"image_tokens": 4, "report_tokens": 8},
        "patients": [0, 1],
    }
    assert [endpoint.additive(said).value() for endpoint in ENDPOINTS] == pytest.approx([21.0, 12 / 6, 24 / 8])


def test_a_shift_of_every_pair_is_found_exactly():
    found = change(("worse", "full"), joint(5.0), joint(), higher_is_better=False)
    assert (found.difference, found.interval.low, found.interval.high) == pytest.approx((5.0, 5.0, 5.0))
    assert (found.verdict, found.units, found.seeds) == ("worse", PATIENTS, (0,))
    assert change(("full", "worse"), joint(), joint(5.0), higher_is_better=False).verdict == "better"


def test_a_shift_of_every_seed_is_found_exactly_whatever_the_seeds_themselves_give():
    base = {seed: joint(9.0 * seed, seed, 3.0) for seed in range(3)}
    arm = {seed: joint(9.0 * seed - 3, seed, 3.0) for seed in range(3)}
    found = change_of_trainings(("arm", "full"), arm, base, higher_is_better=False)
    assert found is not None
    assert (found.difference, found.interval.low, found.interval.high) == pytest.approx((-3.0, -3.0, -3.0))
    assert found.verdict == "better"


def test_one_training_of_each_has_no_verdict():
    found = change_of_trainings(("worse", "full"), {0: joint(5.0)}, {0: joint()}, higher_is_better=False)
    assert found is not None
    assert (found.difference, found.interval.low, found.interval.high) == pytest.approx((5.0, 5.0, 5.0))
    assert (found.verdict, found.p, found.interval.reason) == ("not resolved", None, ONE_TRAINING)


def test_trainings_that_differ_by_their_seed_alone_are_seldom_told_apart():
    drawn = np.random.default_rng(5)
    wrong = 0
    for _ in range(60):
        arm, base = ({seed: joint(drawn.normal()) for seed in range(3)} for _ in range(2))
        found = change_of_trainings(("arm", "base"), arm, base, higher_is_better=False)
        assert found is not None
        wrong += found.verdict != "not resolved"
    assert wrong <= 7  # 3 are expected of 60; P(more than 7) = 1 %


def test_a_spread_between_seeds_that_hides_the_shift_is_not_resolved():
    arm = {0: joint(0.0), 1: joint(20.0), 2: joint(-5.0)}
    base = {0: joint(0.0), 1: joint(-8.0), 2: joint(17.0)}
    found = change_of_trainings(("arm", "base"), arm, base, higher_is_better=False)
    assert found is not None
    assert found.difference == pytest.approx(2.0)
    assert found.verdict == "not resolved"
    assert found.test == OVER_BOTH


def test_only_seeds_of_both_are_compared():
    found = change_of_trainings(
        ("arm", "base"), {0: joint(1.0), 1: joint(99.0)}, {0: joint(), 2: joint()}, higher_is_better=False
    )
    assert found is not None
    assert found.seeds == (0,)
    assert found.difference == pytest.approx(1.0)
    assert change_of_trainings(("arm", "base"), {1: joint()}, {2: joint()}, higher_is_better=False) is None


def test_few_patients_have_no_interval_and_no_verdict():
    few = Additive.mean([1.0, 2.0, 3.0], ["a", "b", "c"])
    more = Additive.mean([9.0, 9.0, 9.0], ["a", "b", "c"])
    found = change_of_trainings(("arm", "base"), {0: more}, {0: few}, higher_is_better=False)
    assert found is not None
    assert (found.difference, found.interval.low, found.verdict) == (7.0, None, "not resolved")
    assert "3 patients" in str(found.interval.reason)


def test_values_over_seeds_are_students_by_seed():
    arm, base = {0: 50.0, 1: 61.0, 2: 55.0, 7: 1.0}, {0: 40.0, 1: 47.0, 2: 44.0}
    found = change_of_values(arm, base, higher_is_better=False)
    expected = ttest_rel([50.0, 61.0, 55.0], [40.0, 47.0, 44.0])
    bounds = expected.confidence_interval()
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))
    assert (found.verdict, found.units) == ("worse", 0)
    single = change_of_values({0: 1.0}, {0: 2.0}, higher_is_better=True)
    assert single is not None
    assert (single.verdict, single.p) == ("not resolved", None)


@pytest.mark.parametrize(
    ("difference", "low", "high", "higher", "said"),
    [
        (1.0, 0.5, 1.5, True, "better"),
        (1.0, 0.5, 1.5, False, "worse"),
        (-1.0, -1.5, -0.5, True, "worse"),
        (1.0, -0.1, 2.0, True, "not resolved"),
        (1.0, 0.0, 2.0, True, "not resolved"),
        (1.0, None, None, True, "not resolved"),
    ],
)
def test_verdict_follows_the_interval(difference, low, high, higher, said):
    assert verdict(difference, Interval(low, high), higher) == said


def test_signs():
    assert sign("worse", "worse") == "agrees"
    assert sign("better", "worse") == "disagrees"
    assert sign("not resolved", "worse") == sign("worse", "not resolved") == "not resolved"


def test_other_tokens_are_no_comparison():
    other = evaluation() | {"image_tokenizer": "another"}
    assert "image tokenizer" in str(comparable(PRIMARY, evaluation(), other))
    assert comparable(ENDPOINTS[1], evaluation(), other) is None  # the report's tokens are the same
    assert "cuts 3 reports short" in str(comparable(ENDPOINTS[2], evaluation() | {"truncated": 3}, evaluation()))
    assert "settings" in str(comparable(ENDPOINTS[1], evaluation(), other | {"settings": {"draws": 9}}))


def test_a_value_names_its_seeds():
    value = value_over_seeds({3: joint(), 5: joint(4.0)})
    assert value.by_seed[5] - value.by_seed[3] == pytest.approx(4.0)
    assert value.value == pytest.approx((value.by_seed[3] + value.by_seed[5]) / 2)
    assert value.interval.low is not None
    assert value.interval.low < value.value
