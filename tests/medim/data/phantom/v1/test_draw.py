"""Drawing primitives against closed forms."""

import numpy as np
import pytest

from medim.data.phantom.v1.draw import blend, grain, grid, inside, segment_distance, stamp


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


def test_grain_is_the_same_film_at_every_resolution():
    small = grain(np.random.default_rng(3), 64)
    large = grain(np.random.default_rng(3), 256)
    assert small.std() == pytest.approx(1.0, abs=0.03)
    means = large.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), small.ravel())[0, 1] > 0.93


def test_the_cached_grid_cannot_be_written():
    x, _ = grid(64)
    with pytest.raises(ValueError, match="read-only"):
        x += 1
