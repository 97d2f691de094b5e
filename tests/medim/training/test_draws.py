"""Training draws: which sample each takes, by weight where data sets are mixed, and which rows a training needs."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.data.sources.selection import MixedDataset
from medim.training.draws import WeightedRows, part_at, rows_needed, sample_at, weighted_rows


def test_every_epoch_visits_every_sample_once_in_another_order():
    epochs = [[sample_at(3, k, 50) for k in range(start, start + 50)] for start in (0, 50)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(50))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("weights", [(1, 1), (2, 1), (1, 9), (5, 3, 2), (Fraction(1, 3), Fraction("0.7")), (1,), (1, 1, 1, 1)])
def test_shares_are_met_at_every_prefix(weights):
    weights = tuple(map(Fraction, weights))
    counts = [0] * len(weights)
    for k in range(500):
        part, number = part_at(k, weights)
        assert number == counts[part]  # the draws before k are counted, not remembered
        counts[part] += 1
        for count, weight in zip(counts, weights, strict=True):
            assert abs(count - (k + 1) * weight / sum(weights)) <= len(weights) / 2


def test_far_draws_are_as_exact_as_near_ones():
    weights = (Fraction(1, 3), Fraction(2, 3))
    period = [part_at(k, weights)[0] for k in range(3)]
    assert [part_at(3 * 10**15 + k, weights)[0] for k in range(3)] == period
    assert sorted(period) == [0, 1, 1]


def test_an_epoch_of_a_part_takes_each_of_its_rows_once():
    rows = WeightedRows((np.arange(0, 40, 4), np.array([1, 2, 3])), (Fraction(2), Fraction(1)), seed=5)
    drawn = [rows.row(k) for k in range(90)]  # 60 of the first, 30 of the second
    first, second = [r for r in drawn if r % 4 == 0], [r for r in drawn if r % 4]
    assert Counter(first) == dict.fromkeys(range(0, 40, 4), 6)
    assert Counter(second) == dict.fromkeys((1, 2, 3), 10)
    epochs = [first[i : i + 10] for i in range(0, 60, 10)]
    assert all(sorted(epoch) == list(range(0, 40, 4)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert [rows.row(k) for k in reversed(range(90))] == drawn[::-1]
    assert drawn != [WeightedRows(rows.parts, rows.weights, 6).row(k) for k in range(90)]


class Sized:
    synthetic, terms, domains = True, "CC0", ()

    def __init__(self, name, train):
        self.name = self.fingerprint = name
        self.train = train

    def size(self, split):
        return self.train if split == "train" else 1


def test_rows_of_a_mixture():
    mixed = MixedDataset([Sized("a", 12), Sized("b", 4), Sized("test only", 0)], [1, 3, 5])
    rows = weighted_rows(mixed, 16, seed=0)
    assert [len(part) for part in rows.parts] == [12, 4]
    assert rows.weights == (1, 3)
    parts = mixed.part_of("train")
    assert Counter(int(parts[rows.row(k)]) for k in range(400)) == {0: 100, 1: 300}
    assert [len(part) for part in weighted_rows(mixed, 8, seed=0).parts] == [6, 2]
    assert weighted_rows(Sized("a", 12), 12, seed=0) is None
    with pytest.raises(UserError, match="train_limit=1 leaves none of the 4 training pairs of 'b'"):
        weighted_rows(mixed, 1, seed=0)


def test_rows_come_in_the_order_of_the_draws_and_all_of_them_after_an_epoch():
    drawn = [sample_at(3, k, 50) for k in range(50)]
    assert rows_needed(50, 20, 3).tolist() == drawn[:20]
    assert rows_needed(50, 50, 3).tolist() == rows_needed(50, 10**9, 3).tolist() == drawn


@pytest.mark.parametrize("draws", [1, 30, 50, 51, 10**9])
def test_of_a_mixture_every_row_that_is_drawn_is_needed_once(draws):
    rows = WeightedRows((np.arange(0, 40), np.arange(40, 50)), (Fraction(1), Fraction(3)), 0)
    need = rows_needed(50, draws, 0, rows)
    first = [rows.row(k) for k in range(min(draws, 50))]
    assert list(dict.fromkeys(first)) == need[: len(set(first))].tolist()
    assert len(set(need)) == len(need)
    assert set(need) >= {rows.row(k) for k in range(min(draws, 500))}
