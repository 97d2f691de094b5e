"""Shift, scale and gate are what the formula says, sign and all, in AdaLN and in the blocks that take them."""

import pytest
import torch

from medim.backbones.adaln import AdaLN, SigmaEmbedding, modulate
from medim.backbones.build import build_backbone, config_of
from medim.canvas import Layout
from medim.vocabulary import Vocabulary

WIDTH = 16
SHAPE = {"hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}
LAYOUT = Layout(Vocabulary(text=20, codes=8), image_length=4, report_length=5)


def drawn(gating: str) -> AdaLN:
    torch.manual_seed(0)
    return AdaLN(WIDTH, gating)  # linear layers start from random numbers


@pytest.mark.parametrize(("gating", "least"), [("identity", 1.0), ("zero", 0.0), ("released", 0.0)])
def test_the_six_numbers_are_those_of_the_formula(gating, least):
    layer, condition = drawn(gating), torch.randn(3, WIDTH)
    activated = condition if gating == "released" else condition / (1 + torch.exp(-condition))
    parts = (activated @ layer.modulation.weight.T + layer.modulation.bias).view(3, 6, WIDTH)
    for index, (found, adds) in enumerate(zip(layer(condition), (0, 0, least, 0, 0, least), strict=True)):
        assert found.shape == (3, 1, WIDTH)
        torch.testing.assert_close(found[:, 0], adds + parts[:, index])


def test_modulation_scales_by_one_more_and_shifts():
    x, shift, scale = torch.randn(2, 3, WIDTH), torch.randn(2, 1, WIDTH), torch.randn(2, 1, WIDTH)
    torch.testing.assert_close(modulate(x, shift, scale), x + x * scale + shift)


@pytest.mark.parametrize("family", ["llama", "gemma2", "dit", "unidisc"])
def test_a_block_adds_each_branch_times_its_gate(family):
    """A gate of 0 takes a branch away, one of 2 adds it twice, one of -1 takes it from the stream."""
    torch.manual_seed(0)
    more = {} if family in ("dit", "unidisc") else {"num_key_value_heads": 2, "head_dim": 8}
    config = config_of({"model_type": family, **SHAPE, **more})
    backbone = build_backbone(config, "bidirectional", "adaln", "zero", LAYOUT).eval()
    x, condition = torch.randn(2, LAYOUT.length, WIDTH), torch.zeros(2, WIDTH)
    before = list[torch.Tensor]()
    backbone.blocks[0].register_forward_hook(lambda block, given, out: before.append(out))

    def added(attention: float, feed_forward: float) -> torch.Tensor:
        with torch.no_grad():
            backbone.adaln[0].modulation.weight.zero_()
            gates = torch.tensor([0, 0, attention, 0, 0, feed_forward]).repeat_interleave(WIDTH)
            backbone.adaln[0].modulation.bias.copy_(gates)
            backbone(x, condition)
        return before[-1]

    still = added(0, 0)  # the stream as it enters the block
    for one, other in (((1, 0), (2, 0)), ((0, 1), (0, 2))):
        branch = added(*one) - still
        assert branch.abs().max() > 1e-3
        torch.testing.assert_close(added(*other) - still, 2 * branch, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(added(*(-gate for gate in one)) - still, -branch, atol=1e-4, rtol=1e-4)
    whole = added(1, 1)
    backbone.timestep = "none"
    with torch.no_grad():
        backbone(x, condition)
    torch.testing.assert_close(whole, before[-1])  # gates of 1: the block as it was pretrained


def test_one_sigma_of_both_modalities_follows_the_share_of_all_tokens():
    torch.manual_seed(0)
    layer, t = SigmaEmbedding(WIDTH, (3, 1)), torch.tensor([[0.4, 0.8], [0.5, 0.5], [1.0, 1.0]])
    sigma = -torch.log(1 - 0.999 * torch.tensor([0.5, 0.5, 1.0]))
    angles = sigma[:, None] * 10_000.0 ** (-torch.arange(128) / 128)
    torch.testing.assert_close(layer.features(t), torch.cat([angles.cos(), angles.sin()], 1), atol=2e-5, rtol=0)
    assert layer(t).shape == (3, WIDTH)


def test_released_gating_leaves_the_last_norm_alone():
    config = config_of({"model_type": "llama", **SHAPE, "num_key_value_heads": 2, "head_dim": 8})
    assert build_backbone(config, "bidirectional", "adaln", "released", LAYOUT).final is None
    assert build_backbone(config, "bidirectional", "adaln", "zero", LAYOUT).final is not None


@pytest.mark.parametrize("family", ["llama", "dit"])
def test_what_is_unseen_moves_nothing_else(family):
    torch.manual_seed(0)
    more = {"num_key_value_heads": 2, "head_dim": 8} if family == "llama" else {}
    backbone = build_backbone(
        config_of({"model_type": family, **SHAPE, **more}), "bidirectional", "none", "zero", LAYOUT
    ).eval()
    x = torch.randn(2, LAYOUT.length, WIDTH)
    unseen = torch.zeros(2, LAYOUT.length, dtype=torch.bool)
    unseen[0, 3] = True
    other = x.clone()
    other[:, 3] = torch.randn(2, WIDTH)
    with torch.no_grad():
        before, after = (backbone(y, None, unseen=unseen) for y in (x, other))
    moved = (before - after).abs().amax(-1) > 1e-6
    assert moved[0].nonzero().flatten().tolist() == [3]
    assert moved[1].all()
