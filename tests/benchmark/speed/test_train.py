"""Both ways of the loss are the same loss; the figures follow from what was timed."""

from dataclasses import replace

import pytest
from torch.utils.flop_counter import FlopCounterMode

from benchmark.speed.train import Shape, _flops, _memory, _step, measure
from medim.common.errors import UserError

TINY = Shape(layers=1, width=64, image_codes=32, text_vocabulary=48, image_length=16, report_length=8, batch=2)


def test_both_ways_are_one_loss():
    ours, full = (float(_step(name, TINY, "cpu", False)().detach()) for name in ("ours", "full"))
    assert ours == pytest.approx(full, rel=1e-5)
    assert ours > 10


def test_figures_follow_from_the_rounds():
    found = measure(TINY, "cpu", False, rounds=3, memory=False)
    assert found.loss_difference < 1e-3
    assert found.ratio > 0
    assert found.utilisation == pytest.approx(found.flops / found.ours / found.roof)
    assert found.flops == _flops(TINY)
    assert "alternating" in found.table()


def test_heads_are_counted_where_the_batch_is_noised():
    counted = {}
    for name in ("ours", "trunk"):
        step = _step(name, TINY, "cpu", False)
        with FlopCounterMode(display=False) as counter:
            step()
        counted[name] = counter.get_total_flops()
    assert _flops(replace(TINY, layers=0)) == counted["ours"] - counted["trunk"]


def test_a_process_that_dies_while_its_memory_is_measured_is_told():
    with pytest.raises(UserError, match="ended with status 1"):
        _memory("ours", replace(TINY, batch=0))
