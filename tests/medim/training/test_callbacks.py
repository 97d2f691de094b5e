"""The moving average moves by its own decay, once the first steps are over."""

import pytest
import torch
from torch import nn
from transformers import TrainerControl, TrainerState

from medim.training.callbacks import MovingAverage


@pytest.mark.parametrize(("decay", "step", "used"), [(0.9, 1000, 0.9), (0.99, 1000, 0.99), (0.99, 1, 2 / 11), (0.2, 2, 0.2)])
def test_after_a_step_the_average_keeps_its_decay_of_what_it_was(decay, step, used):
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = MovingAverage(decay)
    average.start(model, None)
    nn.init.constant_(model.weight, 3.0)
    average.on_step_end(None, TrainerState(global_step=step), TrainerControl(), model=model)
    torch.testing.assert_close(average.average["weight"], torch.full((1, 2), used * 1.0 + (1 - used) * 3.0))
    with average.in_place(model):
        assert model.weight[0, 0].item() == pytest.approx(used + 3 * (1 - used))
    assert model.weight[0, 0].item() == 3
