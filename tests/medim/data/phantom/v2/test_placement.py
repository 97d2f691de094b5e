"""Placement: who hides whom, and where there is room."""

import math

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.data.phantom.v2.findings import Finding
from medim.data.phantom.v2.placement import conflict, evolve, outer_wall, placed, places_of, propose, radius_of


def _finding(label, size, zone=None, places=(), count=1):
    return Finding(label, "mild", size, 0.4, count, zone, places)


LOW = _finding("left consolidation", 60, "lower", ((0.24, 0.60),))


@pytest.mark.parametrize(
    ("over", "under", "expected"),
    [
        (_finding("left effusion", 66), LOW, True),
        (_finding("left effusion", 64), LOW, False),
        (_finding("right effusion", 160), LOW, False),
        (_finding("cardiomegaly", 170), LOW, True),
        (_finding("cardiomegaly", 170), _finding("right consolidation", 60, "lower", ((0.24, 0.6),)), False),
        (_finding("pacemaker", 50), _finding("left nodule", 14, "upper", ((0.15, 0.25),)), True),
        (_finding("pacemaker", 50), _finding("right nodule", 14, "upper", ((0.15, 0.25),)), False),
        (_finding("pulmonary edema", 80), _finding("left nodule", 14, "mid", ((0.2, 0.4),)), True),
        (_finding("right effusion", 110), _finding("pulmonary edema", 80), True),
        (_finding("left pneumothorax", 31), _finding("left consolidation", 60, "mid", ((0.2, 0.44),)), True),
        (_finding("left pneumothorax", 60), _finding("right consolidation", 60, "mid", ((0.2, 0.44),)), False),
        (_finding("left effusion", 116), _finding("left pneumothorax", 20), True),
        (LOW, _finding("left nodule", 14, "lower", ((0.25, 0.58),)), True),
        (LOW, _finding("left nodule", 14, "mid", ((0.15, 0.40),)), False),
        (_finding("low cellularity", 70), _finding("high cellularity", 22), True),
        (_finding("glands", 50, places=((0.3, 0.3),)), _finding("pigment", 50, places=((0.49, 0.3),)), True),
        (_finding("glands", 50, places=((0.3, 0.3),)), _finding("pigment", 50, places=((0.51, 0.3),)), False),
    ],
)
def test_conflicts_are_symmetric_and_as_stated(over, under, expected):
    assert conflict(over, under) is expected
    assert conflict(under, over) is expected


def test_the_outer_wall_of_the_narrowest_lung():
    assert outer_wall(0.56) == pytest.approx(0.355)
    assert outer_wall(0.13) == pytest.approx(0.0)
    assert outer_wall(0.66) == pytest.approx(0.357)


def test_nodules_lie_within_the_lung_and_apart():
    rng = np.random.default_rng(0)
    for _ in range(100):
        places = places_of("right nodule", 16.0, 3, "upper", (), rng)
        if places is None:
            continue
        assert all(u + 0.02 < outer_wall(y) for u, y in places)
        assert min(math.dist(a, b) for i, a in enumerate(places) for b in places[:i]) > 0.04


def test_regions_keep_a_gap():
    rng = np.random.default_rng(1)
    found: list[Finding] = []
    for label in ("necrosis", "glands", "pigment"):
        finding = propose(label, found, rng)
        assert finding is not None
        found.append(finding)
    circles = [(place, radius_of(finding)) for finding in found for place in finding.places]
    for i, (a, r) in enumerate(circles):
        for b, q in circles[:i]:
            assert math.dist(a, b) > r + q


def test_a_full_patch_has_no_room():
    full = [_finding("necrosis", 400, places=((0.5, 0.5),))]
    assert propose("glands", full, np.random.default_rng(0)) is None


def test_evolution_keeps_chest_places_and_stays_in_range():
    rng = np.random.default_rng(0)
    grown = evolve(LOW, (), rng, (1.5, 1.5))
    assert grown is not None
    assert (grown.size, grown.places, grown.severity) == (90.0, LOW.places, "severe")
    largest = evolve(grown, (), rng, (1.5, 1.5))
    assert largest is not None
    assert largest.size == 104
    assert evolve(LOW, [_finding("left effusion", 100)], rng, (1.0, 1.0)) is None


def test_a_case_built_by_hand_gets_places_or_is_told():
    rng = np.random.default_rng(0)
    assert len(placed(_finding("left nodule", 15, "mid", count=2), rng).places) == 2
    assert placed(LOW, rng) is LOW
    assert placed(_finding("left effusion", 80), rng).places == ()
    with pytest.raises(UserError, match="no room for 'glands' with size 240 and count 3"):
        placed(_finding("glands", 240, count=3), rng)
    with pytest.raises(UserError, match="has count 2 and 1 places"):
        placed(_finding("left nodule", 15, "mid", ((0.2, 0.4),), count=2), rng)
