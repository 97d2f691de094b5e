import numpy as np
import pytest
import torch

from tasks.metrics.frechet import FrechetDistance, Moments, frechet_distance


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


def test_bias_of_few_samples_is_as_large_as_known():
    """Two samples of N(0, I) in 64 dimensions, n = 500: about 4.45, though the true distance is 0."""
    generator = np.random.default_rng(0)
    values = [distance(*generator.normal(size=(2, 500, 64))) for _ in range(5)]
    assert np.mean(values) == pytest.approx(4.45, abs=0.15)


def test_constant_set_has_no_covariance():
    features = np.random.default_rng(0).normal(size=(100, 16))
    constant = np.zeros((100, 16))
    expected = (features.mean(0) ** 2).sum() + features.var(axis=0, ddof=1).sum()
    assert distance(features, constant) == pytest.approx(expected, rel=1e-12)


def test_module_accumulates_clamps_and_keeps_the_raw_value():
    features = np.random.default_rng(0).normal(size=(30, 8))
    metric = FrechetDistance()
    for batch in np.split(features, 3):
        metric.update(torch.from_numpy(batch), real=True)
    metric.update(torch.from_numpy(features + 1), real=False)
    assert float(metric.compute()) == pytest.approx(8, rel=1e-9)
    metric.reset()
    metric.update(torch.from_numpy(features), real=True)
    metric.update(torch.from_numpy(features), real=False)
    assert float(metric.compute()) >= 0
    assert metric.raw == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("bad", [np.zeros((1, 4)), np.zeros(4), np.full((3, 4), np.nan)])
def test_refuses_what_has_no_covariance(bad):
    with pytest.raises(ValueError, match=r"two feature vectors|NaN"):
        Moments.of_features(bad)
