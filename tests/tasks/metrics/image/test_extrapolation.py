import numpy as np
import pytest

from tasks.metrics.image.extrapolation import SIZES, _line_at_zero, _subsets, frechet_infinity, too_few_samples
from tasks.metrics.image.frechet import Moments, frechet_distance


def names(n: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


@pytest.mark.parametrize(("n", "bound"), [(500, 0.6), (5000, 0.06)])
def test_equal_distributions_are_at_zero_where_the_distance_is_not(n, bound):
    """N(0, I) in 64 dimensions: at 5,000 samples the distance is 0.445, the extrapolated one within 0.06."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, n, 64))
    line = frechet_infinity(first, second, names(n), names(n, "g"), seed=0)
    distance = frechet_distance(Moments.of_features(first), Moments.of_features(second))
    assert abs(line.value) < bound < distance
    assert 0 < line.error < bound


def test_two_gaussians_come_to_their_closed_form():
    """N(0, I) against N(0.5, 2 I) in 64 dimensions: 26.98; 1,000 samples alone say 30."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(1000, 64)), generator.normal(0.5, np.sqrt(2), size=(1000, 64))
    line = frechet_infinity(first, second, names(1000), names(1000, "g"), seed=0)
    distance = frechet_distance(Moments.of_features(first), Moments.of_features(second))
    assert distance > 29
    assert line.value == pytest.approx(26.98, abs=0.8)


def test_the_seed_decides():
    generator = np.random.default_rng(0)
    sides = *generator.normal(size=(2, 60, 6)), names(60), names(60)
    first, again, other = (frechet_infinity(*sides, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_below_twice_the_dimensions_there_is_none():
    assert too_few_samples(128, 64) is None
    assert too_few_samples(127, 64) == "needs 2 d = 128 images a side (d = 64 features), here are 127"
    with pytest.raises(ValueError, match="here are 127"):
        frechet_infinity(np.zeros((127, 64)), np.zeros((500, 64)), names(127), names(500), seed=0)


def test_subsets_are_of_whole_patients_and_the_same_on_both_sides():
    owners = [f"p{i // 3}" for i in range(60)]
    features = np.arange(60.0)[:, None]
    first, second = _subsets([(features, owners), (features, owners)], 0.5, np.random.default_rng(0))
    assert np.array_equal(first, second)
    assert len(first) == 30
    assert {row // 3 for row in first[:, 0].astype(int)} == {*(first[::3, 0].astype(int) // 3)}
    whole, _ = _subsets([(features, owners), (features, owners)], 1.0, np.random.default_rng(0))
    assert len(whole) == 60


def test_the_line_is_least_squares():
    from scipy import stats

    generator = np.random.default_rng(0)
    x = np.linspace(0.001, 0.005, SIZES)
    y = 3 + 200 * x + 0.01 * generator.normal(size=SIZES)
    line, expected = _line_at_zero(x, y), stats.linregress(x, y)
    assert line.value == pytest.approx(expected.intercept, rel=1e-9)
    assert line.error == pytest.approx(expected.intercept_stderr, rel=1e-9)
