"""Whether a modality is finished early."""

import torch

from medim.sampling.countdown import Countdown


def test_a_modality_is_finished_when_nothing_of_it_is_masked(toy):
    blank, half = toy.blank(2), toy.blank(2, [0, 1])
    whole = half.give_image(torch.zeros(2, 4, dtype=torch.long))
    countdown = Countdown()
    assert not countdown.finished(blank, ["image", "report"])
    assert countdown.finished(half, ["report"])
    assert not countdown.finished(half, ["report", "image"])
    assert countdown.finished(whole, ["image", "report"])
    assert countdown.finished(blank, [])
