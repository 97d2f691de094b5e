"""Which rows a training comes to, and in what order."""

from fractions import Fraction

import numpy as np
import pytest

from medim.training.corruption import sample_at
from medim.training.draws import rows_in_need
from medim.training.mixture import WeightedRows


def test_rows_come_in_the_order_of_the_draws_and_all_of_them_after_an_epoch():
    drawn = [sample_at(3, k, 50) for k in range(50)]
    assert rows_in_need(50, 20, 3).tolist() == drawn[:20]
    assert rows_in_need(50, 50, 3).tolist() == rows_in_need(50, 10**9, 3).tolist() == drawn


@pytest.mark.parametrize("draws", [1, 30, 50, 51, 10**9])
def test_of_a_mixture_every_row_that_is_drawn_is_in_need_once(draws):
    rows = WeightedRows((np.arange(0, 40), np.arange(40, 50)), (Fraction(1), Fraction(3)), 0)
    need = rows_in_need(50, draws, 0, rows)
    first = [rows.row(k) for k in range(min(draws, 50))]
    assert list(dict.fromkeys(first)) == need[: len(set(first))].tolist()
    assert len(set(need)) == len(need)
    assert set(need) >= {rows.row(k) for k in range(min(draws, 500))}
