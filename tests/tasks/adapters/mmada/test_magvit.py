"""The image tokenizer gives what the published code gives on the same random weights; what has no place is named."""

import pytest
import torch

from medim.common.errors import UserError
from tasks.adapters.mmada.magvit import Magvit
from tests.tasks.adapters.mmada.layout import magvit_tensors

THEIRS = [365, 6884, 713, 359, 1152, 6430, 335, 934, 4828, 7132, 874, 8154, 5000, 7128, 2418, 4458]


def test_codes_and_pixels_are_theirs():
    magvit = Magvit(magvit_tensors(), "tiny").eval()
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 - 1
    codes = magvit.encode(images)
    assert codes[0].tolist() == THEIRS
    pixels = magvit.decode(codes).double()
    assert pixels.shape == images.shape
    assert float(pixels.sum()) == pytest.approx(491.80876, abs=1e-2)
    assert float(pixels.abs().sum()) == pytest.approx(1285.30147, abs=1e-2)


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda t: t.pop("quantize.embedding"), "no encoder.down, decoder.up and quantize.embedding: is it showlab/magvitv2"),
        (lambda t: t.pop("decoder.norm_out.bias"), r"1 of \d+ tensors are missing \(decoder\.norm_out\.bias\)"),
        (lambda t: t.update({"loss.weight": torch.ones(1)}), r"1 have no place in the model \(loss\.weight\)"),
        (lambda t: t.pop("decoder.up.1.upsample.conv.weight"), "halves the sides 2 times, its decoder doubles them 1 times"),
        (lambda t: t.update({"quantize.embedding": t["quantize.embedding"].flip(0)}), "not all signs of 13 bits in order"),
        (lambda t: t.update({"quantize.embedding": t["quantize.embedding"][:100]}), "13 bits in order, but 100 codes"),
    ],
)
def test_what_has_no_place_is_named(break_, message):
    tensors = magvit_tensors()
    break_(tensors)
    with pytest.raises(UserError, match=message):
        Magvit(tensors, "tiny")
