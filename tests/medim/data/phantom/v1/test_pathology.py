"""Each tissue finding changes the picture as it should."""

from types import MappingProxyType

import numpy as np
import pytest

from medim.data.phantom.labels import PATHOLOGY
from medim.data.phantom.v1.cases import Case
from medim.data.phantom.v1.pathology import draw_pathology, place


def case_of(*findings, density="moderate", seed=1, patient=7, **attributes):
    named = {key.replace("_", " "): value for key, value in attributes.items()}
    return Case("train", seed, PATHOLOGY, patient, 0, findings, MappingProxyType({"cellularity": density, **named}))


def picture(*findings, seed=5, resolution=64, **attributes):
    return np.asarray(draw_pathology(case_of(*findings, seed=seed, **attributes), resolution)).astype(float)


def share(rule, *findings, **attributes):
    """Mean share of pixels that satisfy `rule(red, green, blue)`, over 12 patches."""
    return np.mean([rule(*np.moveaxis(picture(*findings, seed=seed, **attributes), 2, 0)).mean() for seed in range(12)])


def purple(r, g, b):
    return (r < 150) & (b > r)


def white(r, g, b):
    return np.minimum(np.minimum(r, g), b) > 225


def brown(r, g, b):
    return (r > b + 35) & (r < 180)


def dark_blue(r, g, b):
    return (r < 85) & (g < 85)


def grey(r, g, b):
    return (np.abs(r - b) < 25) & (g > b - 25) & (r > 150) & (r < 225)


def test_density_orders_the_share_of_nuclei():
    low, moderate, high = (share(purple, density=density) for density in ("low", "moderate", "high"))
    assert low > 0.005
    assert moderate > 2.2 * low
    assert high > 2.0 * moderate


@pytest.mark.parametrize(
    ("rule", "finding", "attributes", "least"),
    [
        (white, "glands", {"glands": "1"}, 0.01),
        (dark_blue, "lymphocytic infiltrate", {"lymphocytic_infiltrate": "1"}, 0.015),
        (grey, "necrosis", {}, 0.15),
        (brown, "pigment", {}, 0.015),
    ],
)
def test_each_finding_has_a_colour_of_its_own(rule, finding, attributes, least):
    assert share(rule, density="high") < 0.1 * least
    assert share(rule, finding, **attributes) > least


def test_counts_multiply():
    one, three = (share(white, "glands", glands=count) for count in ("1", "3"))
    assert three == pytest.approx(3 * one, rel=0.25)


def test_regions_keep_clear_of_one_another():
    case = case_of("glands", "necrosis", "pigment", glands="1")
    for seed in range(50):
        regions = place(case, np.random.default_rng(seed))
        assert [region.kind for region in regions] == ["necrosis", "gland", "pigment", "pigment"]
        for i, a in enumerate(regions):
            for b in regions[:i]:
                assert np.hypot(a.x - b.x, a.y - b.y) > 0.8 * (a.radius + b.radius)


def test_glands_are_large_enough_to_survive_patches_of_eight():
    regions = place(case_of("glands", glands="3"), np.random.default_rng(0))
    assert len(regions) == 3
    assert all(2 * region.radius * 64 >= 18 for region in regions)


def test_the_same_picture_at_another_resolution():
    for finding, attributes in (("necrosis", {}), ("pigment", {}), ("glands", {"glands": "2"})):
        small = picture(finding, **attributes)
        large = picture(finding, resolution=256, **attributes).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
        assert np.abs(small - large).mean() < 6.0


def test_stain_varies_between_patients():
    means = [np.asarray(draw_pathology(case_of(patient=patient), 64)).mean(axis=(0, 1)) for patient in range(8)]
    assert np.std(means, axis=0).max() > 3.0
