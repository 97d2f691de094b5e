"""The normal chest: the heart's diameter in millimetres, frames, and what a build shares between visits."""

import numpy as np
import pytest

from medim.data.phantom.labels import CHEST
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.drawing.anatomy import ChestBuild, Exposure
from medim.data.phantom.v2.findings import CHEST_MM


def _build(patient):
    return ChestBuild.of(Case("train", 0, CHEST, patient, 0, ()))


def _exposure(seed=0, resolution=256):
    return Exposure(_build(3), np.random.default_rng(seed), resolution)


@pytest.mark.parametrize("diameter", [130.0, 180.0, 225.0])
def test_a_heart_is_as_wide_as_it_says(diameter):
    film = _exposure()
    across = film.x[film.heart(diameter) > 0.5]
    assert (across.max() - across.min()) * CHEST_MM == pytest.approx(diameter, rel=0.03)


def test_places_in_the_picture_are_where_the_anatomy_is():
    film = _exposure(seed=4)
    for side in ("left", "right"):
        (x, y) = film.to_picture(side, np.array([[0.2, 0.4]]))[0]
        row, column = int(y * 256), int(x * 256)
        assert film.lateral[side][row, column] == pytest.approx(0.2, abs=0.006)
        assert film.y[row, column] == pytest.approx(0.4, abs=0.006)
        assert film.lung[side][row, column] == 1.0
        assert (x > 0.5) == (side == "left")  # the patient's left is on the image's right


def test_lungs_are_dark_and_the_heart_is_bright():
    film = _exposure()
    heart, lungs = film.heart_shadow > 0.9, film.lung["left"] + film.lung["right"] - film.heart_shadow > 0.9
    assert film.image[heart].mean() > film.image[lungs].mean() + 0.25


def test_builds_differ_between_patients_and_not_between_drawings():
    first, again, other = map(_build, (1, 1, 2))
    assert first.width == again.width != other.width
    np.testing.assert_array_equal(first.vessels["left"].starts, again.vessels["left"].starts)
    assert len(first.vessels["left"].half) == 7 * (1 + 2 + 4 + 8)
