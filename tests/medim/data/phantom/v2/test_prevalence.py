"""Prevalence: probabilities in closed form, and an order in which each finding knows what it depends on."""

import math

import numpy as np
import pytest

from medim.data.phantom.v2 import prevalence
from medim.data.phantom.v2.names import LABELS, LABELS_BY_DOMAIN
from medim.data.phantom.v2.prevalence import ORDER, PERSISTENCE, TREND, appears, illness


def test_log_odds_add_up():
    rest, slope, raised = prevalence._ODDS["left effusion"]
    odds = rest + 0.5 * slope + raised["cardiomegaly"]
    assert appears("left effusion", {"cardiomegaly", "pacemaker"}, 0.5, first=True) == pytest.approx(1 / (1 + math.exp(-odds)))
    later = appears("left effusion", {"cardiomegaly", "pacemaker"}, 0.5, first=False)
    assert later == pytest.approx(prevalence._LATER / (1 + math.exp(-odds)))


def test_every_label_has_its_rates_and_depends_on_earlier_ones_only():
    assert set(prevalence._ODDS) == set(PERSISTENCE) == set(LABELS)
    for domain, order in ORDER.items():
        assert sorted(order) == sorted(LABELS_BY_DOMAIN[domain])
        for place, label in enumerate(order):
            assert set(prevalence._ODDS[label][2]) <= set(order[:place])


def test_low_cellularity_never_joins_high():
    assert appears("low cellularity", {"high cellularity"}, 0.0, first=True) < 1e-8


def test_trends_are_shares_and_illness_is_standard_normal():
    assert sum(share for share, _ in TREND) == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    drawn = [illness(rng) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(0.0, abs=0.06)
    assert np.std(drawn) == pytest.approx(1.0, abs=0.05)
