import numpy as np
import pytest

from tasks.metrics.image.inception import inception_score, split_score


def naive(logits: np.ndarray) -> float:
    p = [[np.exp(v) / sum(np.exp(w) for w in row) for v in row] for row in logits]
    marginal = [sum(row[c] for row in p) / len(p) for c in range(len(p[0]))]
    divergences = [sum(v * np.log(v / marginal[c]) for c, v in enumerate(row)) for row in p]
    return float(np.exp(sum(divergences) / len(p)))


def test_equals_the_loops():
    logits = np.random.default_rng(0).normal(0, 2, size=(20, 7))
    assert inception_score(logits) == pytest.approx(naive(logits), rel=1e-12)


def test_uniform_predictions_score_one():
    assert inception_score(np.zeros((50, 1008))) == pytest.approx(1.0, abs=1e-12)


def test_balanced_certain_predictions_score_their_classes():
    assert inception_score(1e4 * np.eye(10)[np.arange(200) % 10]) == pytest.approx(10.0, rel=1e-12)


def test_alike_predictions_score_one():
    assert inception_score(np.tile([3.0, -1, 0.5], (20, 1))) == pytest.approx(1.0, abs=1e-12)


def test_a_shift_of_all_scores_makes_no_difference():
    logits = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
    assert inception_score(logits + np.float32(64)) == pytest.approx(inception_score(logits), rel=1e-5)


def test_splits_are_scored_apart_and_seeded():
    """Ten classes, ten rows a split: a split of 10 certain rows scores its distinct classes at most."""
    logits = 1e4 * np.eye(10)[np.arange(100) % 10]
    found = split_score(logits, seed=0)
    order = np.random.default_rng(0).permutation(100)
    scores = [naive(np.log(np.maximum(np.eye(10)[order[i : i + 10] % 10], 1e-300))) for i in range(0, 100, 10)]
    assert (found.mean, found.deviation) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-9)
    assert found == split_score(logits, seed=0) != split_score(logits, seed=1)
    assert found.mean < inception_score(logits) == pytest.approx(10)
    with pytest.raises(ValueError, match="9 rows make no 10 splits"):
        split_score(logits[:9], seed=0)


def test_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="NaN"):
        inception_score(np.array([[0.0, np.inf]]))


def test_refuses_what_is_empty():
    with pytest.raises(ValueError, match="class scores"):
        inception_score(np.zeros((0, 0)))
