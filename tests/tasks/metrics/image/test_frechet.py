import time

import numpy as np
import pytest
from scipy import linalg

from tasks.metrics.image.frechet import Moments, fast_frechet_distance, frechet_distance, frechet_jackknife
from tasks.metrics.statistics.bootstrap import GROUPS, jackknife_error, patient_groups


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(Moments.of_features(first), Moments.of_features(second))


def via_covariances(first: np.ndarray, second: np.ndarray) -> float:
    moments = [Moments.of_covariance(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (first, second)]
    return frechet_distance(*moments)


def test_closed_form_of_two_gaussians():
    """N(0, I) against N(0.5, 2 I) in 64 dimensions: 64 (1/4 + 1 + 2 - 2 sqrt 2) = 16 + 64 (3 - 2 sqrt 2)."""
    first = Moments.of_covariance(np.zeros(64), np.eye(64))
    second = Moments.of_covariance(np.full(64, 0.5), 2 * np.eye(64))
    assert frechet_distance(first, second) == pytest.approx(16 + 64 * (3 - 2 * np.sqrt(2)), abs=1e-10)


def test_commuting_covariances_in_closed_form():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([16.0, 1.0, 0.0])
    value = frechet_distance(Moments.of_covariance(np.zeros(3), np.diag(a)), Moments.of_covariance(np.ones(3), np.diag(b)))
    assert value == pytest.approx(3 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), abs=1e-12)


@pytest.mark.parametrize(("m", "n"), [(20, 30), (64, 64), (65, 64), (20, 200), (300, 200), (2, 64)])
def test_low_rank_and_covariance_paths_agree(m, n):
    generator = np.random.default_rng(m * 1000 + n)
    first = generator.normal(size=(m, 64)) @ generator.normal(size=(64, 64))
    second = generator.normal(1, 2, size=(n, 64))
    assert distance(first, second) == pytest.approx(via_covariances(first, second), rel=1e-6)


def test_against_the_eigenvalues_of_the_product():
    """tr (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of S1 S2."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(50, 8)), generator.normal(0.3, 1.5, size=(40, 8))
    s1, s2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(s1 @ s2).real).sum()
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * roots
    assert distance(first, second) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [10, 64, 200])
def test_identical_sets_are_at_zero(n):
    features = np.random.default_rng(n).normal(5, 3, size=(n, 64))
    assert distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "known", "repeats"),
    [(65, 34.1, 8), (100, 22.3, 8), (200, 11.0, 5), (500, 4.45, 5), (1000, 2.21, 3), (5000, 0.445, 1), (20_000, 0.112, 1)],
)
def test_bias_of_few_samples_is_as_large_as_known(n, known, repeats):
    """Two samples of N(0, I) in 64 dimensions, whose true distance is 0."""
    generator = np.random.default_rng(n)
    values = [distance(*generator.normal(size=(2, n, 64))) for _ in range(repeats)]
    assert np.mean(values) == pytest.approx(known, rel=0.04)


def test_bias_in_2048_dimensions_is_as_large_as_known():
    generator = np.random.default_rng(0)
    assert distance(*generator.normal(size=(2, 300, 2048))) == pytest.approx(2804, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "known"), [(1000, 1797), (3000, 702)])
def test_bias_in_2048_dimensions_falls_slowly(n, known):
    generator = np.random.default_rng(0)
    assert distance(*generator.normal(size=(2, n, 2048))) == pytest.approx(known, rel=0.01)


def test_a_sample_of_two_gaussians_comes_near_their_closed_form():
    """26.98 for N(0, I) against N(0.5, 2 I); 27.03 is known of 20,000 samples."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(20_000, 64)), generator.normal(0.5, np.sqrt(2), size=(20_000, 64))
    assert distance(first, second) == pytest.approx(27.03, abs=0.25)


def through_sqrtm(first: np.ndarray, second: np.ndarray) -> float:
    """The textbook formula, as most implementations compute it."""
    s1, s2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = linalg.sqrtm(s1 @ s2).real
    return ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * np.trace(root)


@pytest.mark.parametrize(("m", "n"), [(200, 150), (40, 30)])
def test_against_scipys_matrix_root(m, n):
    generator = np.random.default_rng(m)
    mixing = generator.normal(size=(96, 96))
    first, second = generator.normal(size=(m, 96)) @ mixing, generator.normal(0.3, 1.2, size=(n, 96)) @ mixing
    assert distance(first, second) == pytest.approx(through_sqrtm(first, second), rel=1e-5)


@pytest.mark.slow
def test_at_500_samples_of_2048_it_is_twenty_times_as_fast_as_the_matrix_root():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(500, 2048)), generator.normal(0.2, 1.3, size=(500, 2048))
    start = time.perf_counter()
    value = distance(first, second)
    middle = time.perf_counter()
    assert value == pytest.approx(through_sqrtm(first, second), rel=1e-6)
    assert time.perf_counter() - middle > 20 * (middle - start)


def test_float32_covariances_would_lose_the_digits_that_float64_keeps():
    """Equal sets far from the origin: the trap is a distance of minus one or worse."""
    features = np.random.default_rng(0).normal(100, 1, size=(400, 64)).astype(np.float32)
    assert distance(features, features) == pytest.approx(0, abs=1e-8)
    squares = features.T @ features / 400 - np.outer(features.mean(0), features.mean(0))  # float32, as moments are summed
    exact = np.cov(features.astype(np.float64), rowvar=False, ddof=0)
    assert abs(np.trace(squares) - np.trace(exact)) > 1e-3


@pytest.mark.parametrize(("m", "n", "d"), [(40, 30, 64), (120, 130, 8), (60, 200, 64)])
def test_jackknife_is_the_brute_force_one(m, n, d):
    generator = np.random.default_rng(m)
    first, second = generator.normal(3, 1, size=(m, d)), generator.normal(3.4, 1.3, size=(n, d))
    owners = [f"p{i // 2}" for i in range(m)], [f"p{i // 3}" for i in range(n)]
    groups = patient_groups(owners, seed=5)
    expected = [through_sqrtm(first[groups[0] != g], second[groups[1] != g]) for g in range(GROUPS)]
    # sqrtm of a singular product is itself good to 1e-4 only
    np.testing.assert_allclose(frechet_jackknife(first, second, *owners, seed=5), expected, rtol=1e-3 if d == 64 else 1e-6)
    exact = [distance(first[groups[0] != g], second[groups[1] != g]) for g in range(GROUPS)]
    np.testing.assert_allclose(frechet_jackknife(first, second, *owners, seed=5), exact, rtol=1e-6)


@pytest.mark.parametrize(("m", "n"), [(300, 200), (30, 200), (30, 20)])
def test_the_fast_path_agrees(m, n):
    generator = np.random.default_rng(m)
    first, second = generator.normal(size=(m, 48)), generator.normal(0.4, 1.3, size=(n, 48))
    assert fast_frechet_distance(first, second) == pytest.approx(distance(first, second), rel=1e-5)


def test_jackknife_interval_has_the_spread_of_fresh_samples():
    """The standard error over samples, known from 200 of them, against the mean of those that single samples estimate."""

    def pair(seed):
        generator = np.random.default_rng(seed)
        return generator.normal(size=(150, 6)), generator.normal(0.6, 1.4, size=(150, 6))

    names = [str(i) for i in range(150)], [f"g{i}" for i in range(150)]
    true = np.std([distance(*pair(seed)) for seed in range(200)], ddof=1)
    estimates = [jackknife_error(frechet_jackknife(*pair(seed), *names, seed=0)) for seed in range(40)]
    assert np.sqrt(np.mean(np.square(estimates))) == pytest.approx(true, rel=0.2)


def test_constant_set_has_no_covariance():
    features = np.random.default_rng(0).normal(size=(100, 16))
    constant = np.zeros((100, 16))
    expected = (features.mean(0) ** 2).sum() + features.var(axis=0, ddof=1).sum()
    assert distance(features, constant) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", [np.zeros((1, 4)), np.zeros(4), np.full((3, 4), np.nan)])
def test_refuses_what_has_no_covariance(bad):
    with pytest.raises(ValueError, match=r"2 feature vectors|NaN"):
        Moments.of_features(bad)
