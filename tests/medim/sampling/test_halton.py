"""The Halton order of an image's positions."""

import numpy as np
import pytest

from medim.sampling.halton import halton_order, radical_inverse


def test_radical_inverse_mirrors_the_digits():
    np.testing.assert_allclose(radical_inverse(np.arange(5), 2), [0, 0.5, 0.25, 0.75, 0.125])
    np.testing.assert_allclose(radical_inverse(np.arange(1, 5), 3), [1 / 3, 2 / 3, 1 / 9, 4 / 9])


@pytest.mark.parametrize("side", [1, 2, 5, 8, 32])
def test_every_position_once(side):
    assert sorted(halton_order(side)) == list(range(side * side))


def test_any_beginning_is_spread_better_than_chance():
    """Of the first 16 positions of 16 x 16, each quadrant has about four; the largest empty circle is small."""
    order = np.array(halton_order(16)[:16])
    rows, columns = order // 16, order % 16
    assert np.bincount(2 * (rows // 8) + columns // 8, minlength=4).min() >= 3
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), -1).reshape(-1, 1, 2)

    def emptiest(r, c):
        return np.linalg.norm(grid - np.stack([r, c], -1)[None], axis=-1).min(1).max()

    chance = np.random.default_rng(0)
    random = [emptiest(*divmod(chance.permutation(256)[:16], 16)) for _ in range(50)]
    assert emptiest(rows, columns) < np.quantile(random, 0.1)
