"""Tissue: contrasts in closed form, and nuclei whose first places stay when more are asked for."""

import numpy as np
import pytest

from medim.data.phantom.brushes import HAEMATOXYLIN, MELANIN
from medim.data.phantom.v2.drawing.pathology import STROMA, concentration, nuclei_at, spread


@pytest.mark.parametrize("stain", [HAEMATOXYLIN, MELANIN])
@pytest.mark.parametrize("contrast", [0.05, 0.3, 0.6])
def test_a_concentration_darkens_by_the_contrast(stain, contrast):
    amount = concentration(contrast, stain)
    assert STROMA * (1.0 - np.exp(-amount * stain).mean()) == pytest.approx(contrast, abs=1e-5)


def test_no_contrast_is_no_stain():
    assert concentration(0.0, HAEMATOXYLIN) == 0.0


def test_more_nuclei_keep_the_places_of_fewer_and_are_spread_evenly():
    few, many = spread(np.random.default_rng(5), 30), spread(np.random.default_rng(5), 120)
    np.testing.assert_array_equal(few, many[:30])

    def nearest(points):
        gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) + 9 * np.eye(len(points))
        return gaps.min(axis=1).mean()

    random = np.random.default_rng(6).uniform(-0.05, 1.05, (120, 2))
    assert nearest(many) > 1.3 * nearest(random)


def test_the_number_of_nuclei_follows_their_distance():
    assert nuclei_at(27.5) == 100
    assert nuclei_at(55.0) == 25
    assert nuclei_at(1e6) == 1
