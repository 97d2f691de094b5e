import numpy as np
import pytest

from tasks.metrics.image import coverage
from tasks.metrics.image.coverage import coverage_of_features


def naive(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Loops over pairs, as the definitions read."""

    def distance(a, b):
        return float(np.sqrt(((a - b) ** 2).sum()))

    def radius(points, i):
        return sorted(distance(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    real_radius = [radius(real, i) for i in range(len(real))]
    fake_radius = [radius(fake, j) for j in range(len(fake))]
    held = [[distance(x, y) <= real_radius[i] for i, x in enumerate(real)] for y in fake]
    holds = [[distance(x, y) <= fake_radius[j] for j, y in enumerate(fake)] for x in real]
    precision = sum(any(row) for row in held) / len(fake)
    recall = sum(any(row) for row in holds) / len(real)
    density = sum(map(sum, held)) / (k * len(fake))
    return precision, recall, density, sum(any(column) for column in zip(*held, strict=True)) / len(real)


@pytest.mark.parametrize(("m", "n", "k"), [(30, 25, 5), (12, 40, 3), (6, 6, 5)])
def test_equals_the_loops(m, n, k):
    generator = np.random.default_rng(m)
    real, fake = generator.normal(size=(m, 4)), generator.normal(0.4, 0.7, size=(n, 4))
    found = coverage_of_features(real, fake, k)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(naive(real, fake, k), abs=1e-12)


def test_ties_count_as_the_loops_count_them():
    """Points of a grid: most distances are equal to others, and many to a radius."""
    generator = np.random.default_rng(0)
    real, fake = (generator.integers(0, 3, size=(40, 2)).astype(float) for _ in range(2))
    found = coverage_of_features(real, fake)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(naive(real, fake, 5), abs=1e-12)


def test_blocks_make_no_difference(monkeypatch):
    generator = np.random.default_rng(0)
    real, fake = generator.normal(size=(50, 4)), generator.normal(0.3, 1, size=(33, 4))
    whole = coverage_of_features(real, fake)
    monkeypatch.setattr(coverage, "_CHUNK", 7 * 33)
    assert coverage_of_features(real, fake) == whole


def test_order_makes_no_difference():
    generator = np.random.default_rng(0)
    real, fake = generator.normal(size=(50, 4)), generator.normal(0.3, 1, size=(33, 4))
    assert coverage_of_features(real[::-1], generator.permutation(fake)) == coverage_of_features(real, fake)


def test_copies_of_ten_real_images_are_precise_and_cover_their_neighbours():
    """Coverage is about 10 (k + 1) / N: each copy lies in the balls of those whose near neighbour it is, and in its own."""
    real = np.random.default_rng(0).normal(size=(600, 8))
    fake = np.repeat(real[:10], 60, axis=0)
    found = coverage_of_features(real, fake)
    assert found.precision == 1
    assert found.coverage == pytest.approx(10 * 6 / 600, rel=0.4)
    assert found.recall == pytest.approx(10 / 600)  # balls without extent hold just their own image


def test_many_equal_real_images_hold_their_copy():
    """Radii are zero here, and features large, so that rounding would put a copy outside."""
    real = np.repeat(1e3 + np.random.default_rng(0).normal(size=(4, 300)), 8, axis=0)
    found = coverage_of_features(real, real[::-1].copy())
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


def test_halves_of_one_set_are_near_the_known_ceiling():
    """Expected coverage of equal distributions at N = M is 1 - (1/2)^k, nearly: Naeem et al. 2020, equation 9."""
    generator = np.random.default_rng(0)
    found = coverage_of_features(*generator.normal(size=(2, 1000, 16)))
    assert found.coverage == pytest.approx(1 - 0.5**5, abs=0.03)
    assert found.density == pytest.approx(1, abs=0.1)


def test_far_sets_share_nothing_and_one_mode_is_not_recalled():
    generator = np.random.default_rng(0)
    real = generator.normal(size=(200, 8))
    far = coverage_of_features(real, generator.normal(50, 1, size=(200, 8)))
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)
    narrow = coverage_of_features(real, generator.normal(0, 0.05, size=(200, 8)))
    assert narrow.precision > 0.9
    assert narrow.recall < 0.05


def test_refuses_as_many_samples_as_neighbours():
    with pytest.raises(ValueError, match="at least 6"):
        coverage_of_features(np.zeros((5, 2)), np.zeros((9, 2)))
    with pytest.raises(ValueError, match="NaN"):
        coverage_of_features(np.full((9, 2), np.nan), np.zeros((9, 2)))
