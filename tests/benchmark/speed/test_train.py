"""The figures follow from what was timed."""

from dataclasses import replace

import pytest
from torch.utils.flop_counter import FlopCounterMode

from benchmark.speed.train import Shape, flops_of, measure, training_step

TINY = Shape(layers=1, width=64, image_codes=32, text_vocabulary=48, image_length=16, report_length=8, batch=2)


def test_figures_follow_from_the_rounds():
    found = measure(TINY, "cpu", False, rounds=3)
    assert found.utilisation == pytest.approx(found.flops / found.seconds / found.roof)
    assert found.flops == flops_of(TINY)
    assert "52 tokens, 80 ids; cpu, fp32" in found.table()
    assert found.as_dict()["shape"]["layers"] == 1


def test_heads_are_counted_where_the_batch_is_noised():
    with FlopCounterMode(display=False) as counter:
        training_step(TINY, "cpu", False)()
    trunk = flops_of(TINY) - flops_of(replace(TINY, layers=0))
    assert counter.get_total_flops() == pytest.approx(trunk + flops_of(replace(TINY, layers=0)), rel=0.05)
