import numpy as np
import pytest

from tasks.metrics.image.kernel import cmmd, kernel_distance, kernel_interval


def naive(x: np.ndarray, y: np.ndarray) -> float:
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    m, n = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    yy = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    xy = sum(k(x[i], y[j]) for i in range(m) for j in range(n)) / (m * n)
    return xx + yy - 2 * xy


def test_equals_the_double_loop():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(12, 5)), generator.normal(0.5, 1.2, size=(9, 5))
    assert kernel_distance(x, y) == pytest.approx(naive(x, y), rel=1e-12)


def test_by_hand():
    """x = 0, 2 and y = 1, 1 in one dimension: k = 1, 8 and the crosses 1, 27."""
    x, y = np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])
    assert kernel_distance(x, y) == pytest.approx(1 + 8 - 2 * (1 + 1 + 27 + 27) / 4)


def test_is_unbiased_and_may_be_negative():
    generator = np.random.default_rng(0)
    values = [kernel_distance(*generator.normal(size=(2, 500, 64))) for _ in range(20)]
    assert np.mean(values) == pytest.approx(0, abs=2e-3)
    assert min(values) < 0 < max(values)


def test_does_not_depend_on_order():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(30, 8)), generator.normal(1, 1, size=(20, 8))
    assert kernel_distance(x[::-1], generator.permutation(y)) == pytest.approx(kernel_distance(x, y), rel=1e-12)


def test_interval_covers_the_true_distance_of_shifted_sets():
    """One dimension, x = -1 or 1, y = 0 or 2: E k(a, b) = 1 + 3 E[a] E[b] + 3 E[a^2] E[b^2] + E[a^3] E[b^3].

    For x, x': 1 + 0 + 3 + 0 = 4. For y, y': 1 + 3 + 3 * 4 + 16 = 32. For x, y: 1 + 0 + 3 * 2 + 0 = 7. MMD^2 = 4 + 32 - 14.
    """
    generator = np.random.default_rng(1)
    names = [str(index) for index in range(120)]
    hits = 0
    for seed in range(20):
        x, y = generator.choice([-1.0, 1.0], size=(120, 1)), generator.choice([0.0, 2.0], size=(120, 1))
        interval = kernel_interval(x, y, names, names, seed, halves=100)
        hits += interval.low <= 22 <= interval.high
    assert hits >= 16


def test_interval_is_seeded_and_wider_where_patients_repeat():
    generator = np.random.default_rng(0)
    base = generator.normal(size=(40, 6))
    x = np.repeat(base, 4, axis=0) + 0.01 * generator.normal(size=(160, 6))
    y = generator.normal(0.8, 1, size=(160, 6))
    alone, others = ([f"{side} {index}" for index in range(160)] for side in "xy")
    grouped = [f"x {index // 4}" for index in range(160)]
    first, again = (kernel_interval(x, y, grouped, others, seed=3) for _ in range(2))
    assert first == again
    independent = kernel_interval(x, y, alone, others, seed=3)
    assert first.high - first.low > 1.3 * (independent.high - independent.low)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_interval_is_as_wide_as_the_values_spread_whether_or_not_the_sides_share_patients(correlation):
    generator = np.random.default_rng(0)
    names = [str(index) for index in range(150)]

    def sides():
        x, noise = generator.normal(size=(2, 150, 4))
        return x, 1 + correlation * x + np.sqrt(1 - correlation**2) * noise

    spread = np.std([kernel_distance(*sides()) for _ in range(300)])
    intervals = [kernel_interval(*sides(), names, names, seed, halves=100) for seed in range(30)]
    assert np.mean([interval.high - interval.low for interval in intervals]) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.1)


def test_no_interval_below_fifteen_patients():
    features = np.random.default_rng(0).normal(size=(20, 3))
    interval = kernel_interval(features, features, [str(i % 14) for i in range(20)], [str(i) for i in range(20)], seed=0)
    assert (interval.low, interval.high) == (None, None)
    assert "14 patients" in interval.reason


def test_refuses_a_single_sample():
    with pytest.raises(ValueError, match="at least 2"):
        kernel_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_cmmd_equals_the_double_loop():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(12, 5)), generator.normal(0.5, 1.2, size=(9, 5))
    x1, y1 = (z / np.sqrt((z**2).sum(axis=1))[:, None] for z in (x, y))

    def mean(first, second):
        return np.mean([np.exp(-((a - b) ** 2).sum() / 200) for a in first for b in second])

    assert cmmd(x, y) == pytest.approx(1000 * (mean(x1, x1) + mean(y1, y1) - 2 * mean(x1, y1)), rel=1e-9)


def test_cmmd_of_equal_sets_is_zero():
    x = np.random.default_rng(0).normal(size=(30, 8))
    assert cmmd(x, x[::-1]) == pytest.approx(0, abs=1e-10)
    assert cmmd(x, 3 * x) == pytest.approx(0, abs=1e-10)  # only directions count


def test_cmmd_refuses_what_has_no_direction():
    with pytest.raises(ValueError, match="other than zero"):
        cmmd(np.zeros((3, 4)), np.ones((3, 4)))
