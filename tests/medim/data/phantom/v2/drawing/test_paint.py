"""Brushes: thin lines fade instead of growing, opacities saturate, noise is shared between resolutions."""

import numpy as np
import pytest

from medim.data.phantom.v1.draw import grid
from medim.data.phantom.v2.drawing.paint import LUNG, band, brighten, noise, octave, strokes


@pytest.mark.parametrize("resolution", [64, 128, 256])
def test_a_line_covers_the_same_area_at_any_resolution(resolution):
    x, _ = grid(resolution)
    for half in (0.001, 0.01, 0.1):
        assert band(np.abs(x - 0.5), half, resolution).mean() == pytest.approx(2 * half, rel=1e-4)


def test_contrast_is_exact_over_lung_and_less_over_what_is_bright():
    image = np.array([[LUNG, 0.6, 1.0]], np.float32)
    brighten(image, 0.4, np.ones((1, 3), np.float32))
    assert image[0, 0] == pytest.approx(LUNG + 0.4)
    assert image[0, 1] - 0.6 == pytest.approx(0.4 * 0.4 / (1 - LUNG))
    assert image[0, 2] == 1.0


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


def test_noise_shares_its_coarse_part_and_adds_finer():
    small, large = noise("val", 3, 0, 64, (64, 128, 256)), noise("val", 3, 0, 256, (64, 128, 256))
    reduced = large.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.8
    assert noise("val", 3, 0, 32, (64, 128)).max() == 0.0
    assert (noise("val", 3, 1, 64, (64,)) != small).any()
    assert (noise("val", 4, 0, 64, (64,)) != small).any()


def test_an_octave_at_its_own_size_is_white():
    drawn = octave(np.random.default_rng(0), 64, 64)
    assert drawn.std() == pytest.approx(1.0, abs=0.05)
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 0.05
