"""Both ways of the loss are the same loss; the figures follow from what was timed."""

import pytest

from benchmark.train_speed import Shape, _flops, _step, measure

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
