"""Draws and schedules."""

import numpy as np
import pytest
import torch

from medim.sampling.settings import ModalitySettings
from medim.sampling.step import (
    GRID,
    Proposal,
    confidence,
    draw,
    entropy,
    fine,
    fraction,
    margin,
    noise,
    nucleus,
    remaining,
    threshold,
)


def test_draw_follows_temperature_and_nucleus():
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log().repeat(20_000, 1)
    uniform = torch.from_numpy(np.random.default_rng(0).random(20_000, dtype=np.float32))
    share = torch.bincount(draw(logits, uniform, 1.0, 1.0)[0], minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.6, 0.3, 0.1]), atol=0.01, rtol=0)
    share = torch.bincount(draw(logits, uniform, 0.5, 1.0)[0], minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.36, 0.09, 0.01]) / 0.46, atol=0.01, rtol=0)
    share = torch.bincount(draw(logits, uniform, 1.0, 0.7)[0], minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([2 / 3, 1 / 3, 0.0]), atol=0.01, rtol=0)
    _, log_probability = draw(logits, uniform, 0.5, 1.0)
    torch.testing.assert_close(log_probability, logits)


def test_draws_have_the_shape_of_their_places():
    logits = torch.zeros(2, 3, 4)
    uniform = torch.tensor([[0.1, 0.3, 0.6], [0.9, 0.26, 0.0]])
    assert draw(logits, uniform, 1.0, 1.0)[0].tolist() == [[0, 1, 2], [3, 1, 0]]


def test_impossible_tokens_are_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).repeat(3, 1)
    assert draw(logits, torch.tensor([0.0, 0.5, 1.0 - 1e-7]), 1.0, 1.0)[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("top_p", [1.0, 1 - 1e-6])
def test_every_id_of_a_long_tail_can_be_drawn(top_p):
    """Of 262,000 ids one has nearly all the mass: each other one is drawn by the middle of its own interval."""
    size, tail = 262_000, 6e-4
    probability = torch.full((size,), tail / (size - 1), dtype=torch.float64)
    probability[0] = 1 - tail
    ids = torch.linspace(1, size - 1, 16).long()
    logits = probability.log().float().expand(len(ids), -1)
    own = (logits[0].log_softmax(-1) / 1.0).softmax(-1).double()  # the law as float32 tells it
    kept = nucleus(own[None], top_p)[0]
    ids = ids[kept[ids] > 0]
    assert len(ids) > 14
    middle = (kept.cumsum(0)[ids] - kept[ids] / 2) / kept.sum()
    assert draw(logits[: len(ids)], middle, 1.0, top_p)[0].tolist() == ids.tolist()


def test_random_numbers_for_tokens_are_finer_than_a_float32():
    """Between two neighbouring float32 numbers they lie evenly: 4,000 cells of a fine grid, by chi-square."""
    numbers = noise(range(40), 10, 100)
    uniform = fine(numbers[0])
    assert uniform.dtype == torch.float64
    assert torch.equal((uniform / GRID).floor() * GRID, numbers[0, 0].double())
    below = torch.cat([(fine(row) / GRID) % 1 for row in numbers]).flatten()  # 40,000
    counts = torch.bincount((below * 100).long(), minlength=100).double()
    assert float(((counts - 400) ** 2 / 400).sum()) < 99 + 5 * (2 * 99) ** 0.5
    assert torch.equal(noise([7], 3, 5), noise([1, 7], 9, 5)[:3, :, 1:])  # neither batch nor rounds matter


def test_the_cosine_schedule_reveals_few_tokens_first():
    total = torch.tensor([100])
    left = [int(remaining(ModalitySettings(steps=4), p / 4, total)) for p in range(5)]
    assert left == [100, 92, 70, 38, 0]
    linear = ModalitySettings(steps=4, schedule="linear")
    assert [int(remaining(linear, p / 4, total)) for p in range(5)] == [100, 75, 50, 25, 0]
    assert fraction(linear, 0.6) == 0.5  # the level of the last whole step


def test_ranks():
    probability = torch.tensor([[[0.5, 0.4, 0.1], [0.4, 0.3, 0.3], [0.45, 0.1, 0.45]]])
    drawn = torch.tensor([[2, 0, 0]])
    uniform = torch.tensor([[0.5, 0.5, np.exp(-np.exp(-2.0))]])  # Gumbel numbers: -log log 2, the same, 2
    proposal = Proposal(
        torch.zeros(1, 3, dtype=torch.bool),
        drawn,
        probability.log(),
        torch.tensor([0.5]),
        uniform.float(),
    )
    settings = ModalitySettings(confidence_noise=3.0)
    torch.testing.assert_close(margin(proposal, settings), torch.tensor([[0.1, 0.1, 0.0]]))
    torch.testing.assert_close(entropy(proposal, settings), (probability * probability.log()).sum(-1))
    torch.testing.assert_close(threshold(proposal, settings), torch.tensor([[0.1, 0.4, 0.45]]).log())
    gumbel = torch.tensor([[0.36651, 0.36651, 2.0]])
    torch.testing.assert_close(
        confidence(proposal, settings), torch.tensor([[0.1, 0.4, 0.45]]).log() + 1.5 * gumbel, atol=1e-4, rtol=1e-4
    )
