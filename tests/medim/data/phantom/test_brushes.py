"""Drawing primitives against closed forms."""

import numpy as np
import pytest
from PIL import Image

from medim.data.phantom.brushes import (
    Stains,
    band,
    blend,
    grid,
    grid_noise,
    inside,
    packed,
    segment_distance,
    stamp,
    strokes,
    to_image,
)


@pytest.mark.parametrize("resolution", [64, 256])
def test_a_disc_covers_its_area(resolution):
    x, y = grid(resolution)
    disc = inside(np.hypot(x - 0.5, y - 0.5) - 0.3, 0.75 / resolution)
    assert disc.mean() == pytest.approx(np.pi * 0.09, rel=2e-3)


def test_stamped_ellipses_cover_their_area_and_keep_the_larger_value():
    field = np.zeros((256, 256), np.float32)
    one = np.ones(1)
    stamp(field, 0.5 * one, 0.5 * one, 0.2 * one, 0.5 * one, 0.7 * one, one)
    assert field.mean() == pytest.approx(np.pi * 0.2 * 0.1, rel=0.02)
    before = field.copy()
    stamp(field, 0.5 * one, 0.5 * one, 0.1 * one, one, 0 * one, 0.5 * one)
    assert (field >= before).all()
    assert field[128, 128] == 1.0


def test_stamps_beyond_the_border_are_cut_not_wrapped():
    field = np.zeros((64, 64), np.float32)
    stamp(field, np.array([0.0]), np.array([0.5]), np.array([0.1]), np.ones(1), np.zeros(1), np.ones(1))
    assert field[32, 0] > 0
    assert not field[:, 32:].any()
    stamp(field, np.empty(0), np.empty(0), np.empty(0), np.empty(0), np.empty(0), np.empty(0))


def test_segment_distance_is_to_the_segment_not_the_line():
    x, y = np.array([[0.5, 2.0]]), np.array([[1.0, 0.0]])
    assert segment_distance(x, y, (0.0, 0.0), (1.0, 0.0)).tolist() == [[1.0, 1.0]]


def test_blend_lays_a_value_over_the_image():
    image = np.zeros((1, 3), np.float32)
    blend(image, 0.8, np.array([[0.0, 0.5, 1.0]], np.float32))
    np.testing.assert_allclose(image, [[0.0, 0.4, 0.8]], rtol=1e-6)


def test_noise_is_the_same_film_at_every_resolution():
    small = grid_noise(np.random.default_rng(3), 64, 64, Image.Resampling.BILINEAR)
    large = grid_noise(np.random.default_rng(3), 64, 256, Image.Resampling.BILINEAR)
    assert small.std() == pytest.approx(1.0, abs=0.03)
    means = large.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), small.ravel())[0, 1] > 0.93


def test_the_cached_grid_cannot_be_written():
    x, _ = grid(64)
    with pytest.raises(ValueError, match="read-only"):
        x += 1


@pytest.mark.parametrize("resolution", [64, 128, 256])
def test_a_line_covers_the_same_area_at_any_resolution(resolution):
    x, _ = grid(resolution)
    for half in (0.001, 0.01, 0.1):
        assert band(np.abs(x - 0.5), half, resolution).mean() == pytest.approx(2 * half, rel=1e-4)


@pytest.mark.parametrize("resolution", [64, 256])
def test_a_stroke_has_its_length_width_and_value(resolution):
    field = np.zeros((resolution, resolution), np.float32)
    strokes(field, np.array([[0.2, 0.5]]), np.array([[0.8, 0.5]]), np.array([0.004]), np.array([0.5]))
    assert field.sum() / resolution**2 == pytest.approx(0.5 * 0.6 * 0.008, rel=0.05)
    assert field[: resolution // 4].max() == 0
    diagonal = np.zeros_like(field)
    strokes(diagonal, np.array([[0.2, 0.2]]), np.array([[0.7, 0.7]]), np.array([0.02]), np.array([1.0]))
    np.testing.assert_allclose(diagonal, diagonal.T)
    assert diagonal.sum() / resolution**2 == pytest.approx(0.04 * 0.5 * 2**0.5 + np.pi * 0.02**2, rel=0.06)


def test_strokes_keep_the_larger_value_and_may_leave_the_picture():
    field = np.zeros((32, 32), np.float32)
    ends = np.array([[[-0.5, 0.5], [1.5, 0.5]], [[0.5, -0.5], [0.5, 1.5]]])
    strokes(field, ends[:, 0], ends[:, 1], np.array([0.1, 0.1]), np.array([1.0, 0.3]))
    assert field[16, 16] == 1.0
    assert field[2, 16] == pytest.approx(0.3)
    strokes(field, np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0))


def test_noise_at_its_own_size_is_white():
    drawn = grid_noise(np.random.default_rng(0), 64, 64, Image.Resampling.BICUBIC)
    assert drawn.std() == pytest.approx(1.0, abs=0.05)
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 0.05


def test_images_are_grey_or_coloured():
    grey, colour = to_image(np.array([[0.0, 1.0]])), to_image(np.array([[[0.2, 0.4, 0.6]]]))
    assert (grey.mode, grey.getpixel((0, 0)), grey.getpixel((1, 0))) == ("RGB", (0, 0, 0), (255, 255, 255))
    assert colour.getpixel((0, 0)) == (51, 102, 153)


def test_stains_absorb_by_their_concentration_and_cells_displace_stroma():
    stains = Stains(32)
    stains.eosin, stains.basophilia[:] = np.full((32, 32), 0.4, np.float32), 0.0
    stains.nuclei[:, 16:] = 0.5
    absorbed = stains.absorbance(1.0, 1.0, 0.0, np.ones(3))
    np.testing.assert_allclose(absorbed[0, 0], 0.4 * np.array([0.10, 0.80, 0.38]), rtol=1e-5)
    np.testing.assert_allclose(
        absorbed[0, 31], 0.5 * 0.4 * np.array([0.10, 0.80, 0.38]) + 0.5 * np.array([0.70, 0.74, 0.34]), rtol=1e-5
    )


def test_packed_points_fill_the_disc():
    points = packed(np.random.default_rng(0), 0.5, 0.5, 0.2, 400, 0.0)
    reach = np.hypot(*(points - 0.5).T)
    assert reach.max() < 0.2
    assert (reach < 0.1).mean() == pytest.approx(0.25, abs=0.01)
