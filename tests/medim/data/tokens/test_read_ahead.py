"""Batches come in order, whoever reads them; what a reader refuses reaches the caller as it was said."""

import threading
import time

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.data.phantom.worlds import default_world
from medim.data.tokens.read_ahead import cut, read_batch, read_batches, worker_pool


def test_pieces():
    assert cut(range(3, 10), 3) == [range(3, 6), range(6, 9), range(9, 10)]
    assert cut(range(0), 3) == []


def test_in_order_and_in_the_size_asked_for(squares):
    batches = list(read_batches(squares, "train", cut(range(2, 12), 4), side=8))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [name for batch in batches for name in batch.ids] == [f"train-{i}" for i in range(2, 12)]
    assert batches[0].pixels.shape == (4, 8, 8, 3)
    assert batches[0].images()[0].getpixel((0, 0)) == squares.pair("train", 2).image.getpixel((0, 0))
    assert batches[2].reports[1] == squares.pair("train", 11).report


def test_the_next_batches_are_read_meanwhile_but_no_more(squares):
    asked: list[int] = []

    class Counting:
        def pair(self, split, index):
            asked.append(index)
            return squares.pair(split, index)

    batches = read_batches(Counting(), "train", cut(range(32), 1), side=16)
    next(batches)
    deadline = time.monotonic() + 5
    while len(asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert asked == [0, 1, 2]  # one given, two ahead
    before = threading.active_count()
    batches.close()
    assert threading.active_count() < before


def test_processes_read_the_same(tmp_path):
    dataset, pieces = default_world(), cut(range(40), 8)
    here = list(read_batches(dataset, "val", pieces, 64))
    with worker_pool(dataset, "val", 64, 2) as pool:
        there = list(pool(pieces))
    ahead = list(read_batches(dataset, "val", pieces, 64, workers=2))
    for one, two, three in zip(here, there, ahead, strict=True):
        assert one.ids == two.ids == three.ids
        assert one.reports == two.reports == three.reports
        assert np.array_equal(one.pixels, two.pixels)
        assert np.array_equal(one.pixels, three.pixels)
    assert here[1].ids == read_batch(dataset, "val", range(8, 16), 64).ids


class Broken:
    """Pickles by name, so that it travels to processes."""

    def pair(self, split, index):
        raise UserError("image 'x.png' cannot be read: cut")


def test_a_readers_refusal_arrives_as_it_was():
    with pytest.raises(UserError, match=r"^image 'x.png' cannot be read: cut$"):
        list(read_batches(Broken(), "train", [range(2)], 8))
