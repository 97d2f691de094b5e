import numpy as np
import pytest

from tasks.metrics.pair.retrieval import Alignment, align, ranks


def pairs(count, seed, noise=0.1, width=6):
    """Images and texts that show the same `width` hidden numbers through different mixtures, among nuisance of their own."""
    mixing = np.random.default_rng(99)
    image_mix, text_mix = mixing.normal(size=(width, 20)), mixing.normal(size=(width, 30))
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=(count, width))
    images, texts = hidden @ image_mix, hidden @ text_mix
    return (side + noise * generator.normal(size=side.shape) for side in (images, texts))


def test_pairs_find_each_other_in_the_common_space_and_strangers_do_not():
    alignment = align(*pairs(400, 0), [str(index // 2) for index in range(400)], seed=0)
    images, texts = pairs(100, 1)
    similar = alignment.similarities(images, texts)
    assert (ranks(similar) == 1).mean() > 0.95
    assert (ranks(similar.T) == 1).mean() > 0.95
    assert alignment.correlations[:4].min() > 0.98
    unrelated = alignment.similarities(images, np.random.default_rng(2).permutation(texts))
    assert (ranks(unrelated) <= 10).mean() < 0.25
    assert abs(similar).max() <= 1 + 1e-9


def test_the_first_canonical_correlation_is_that_of_the_pairs():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(20_000, 1))
    y = 0.6 * x + 0.8 * generator.normal(size=(20_000, 1))
    assert Alignment.fit(x, y, 1).correlations[0] == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1], abs=1e-9)


def test_ranks_count_ties_against_the_pair():
    similar = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.3, 0.4, 0.35]])
    assert ranks(similar).tolist() == [1, 2, 2]
    assert ranks(similar, np.array([1, 2, 0])).tolist() == [3, 3, 3]
    assert ranks(np.ones((5, 5))).tolist() == [5] * 5


def test_copies_find_nothing_and_doubling_a_set_raises_nothing():
    alignment = align(*pairs(400, 0), [str(index) for index in range(400)], seed=0)
    images, texts = (rows[:60] for rows in pairs(100, 3, noise=3.0))
    similar = alignment.similarities(images, texts)
    doubled = alignment.similarities(np.repeat(images[:30], 2, axis=0), np.repeat(texts[:30], 2, axis=0))
    for cutoff in (1, 5, 10):
        assert (ranks(doubled) <= cutoff).mean() <= (ranks(similar) <= cutoff).mean() + 0.08
    assert (ranks(doubled) <= 1).sum() == 0
    copies = alignment.similarities(np.repeat(images[:1], 60, axis=0), np.repeat(texts[:1], 60, axis=0))
    assert (ranks(copies) <= 10).sum() == 0


def test_more_components_are_taken_only_where_they_find_more():
    narrow = align(*pairs(400, 0, width=2), [str(index) for index in range(400)], seed=0)
    wide = align(*pairs(400, 0, width=16, noise=0.02), [str(index) for index in range(400)], seed=0)
    assert narrow.components < wide.components
