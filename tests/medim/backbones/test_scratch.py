"""DiT and UniDisc: order matters, masks hold, parameters match, gating starts where it says."""

import pytest
import torch

from medim.backbones.build import config_of, matched
from medim.backbones.scratch import canvas_angles, rotate, sequence_angles
from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel

FIELDS = {"image_codes": 16, "image_length": 9, "report_length": 7, "text_vocabulary": 50}
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 50,
}


def model(family: str, **fields) -> MeDiMModel:
    torch.manual_seed(0)
    built = MeDiMModel(MeDiMConfig(backbone={"model_type": family, **SHAPE}, **FIELDS, **fields)).eval()
    if fields.get("timestep", "adaln") == "adaln":  # AdaLN-Zero is silent at step 0
        for block in built.backbone.adaln:
            torch.nn.init.normal_(block.modulation.weight, std=0.3)
    return built


def logits(built: MeDiMModel, tokens: torch.Tensor, t: float = 0.5) -> torch.Tensor:
    hidden = built.hidden(tokens, torch.full((len(tokens), 2), t))
    return built.logits(hidden[:, built.config.layout.report], "report")


def tokens_of(built: MeDiMModel) -> torch.Tensor:
    return torch.randint(0, 50, (2, built.config.layout.length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("gating", ["zero", "identity"])
@pytest.mark.parametrize("timestep", ["adaln", "additive", "none"])
@pytest.mark.parametrize("family", ["dit", "unidisc"])
def test_a_token_is_seen_from_both_sides_or_under_a_causal_mask_from_one(family, timestep, gating):
    for attention, seen in (("bidirectional", True), ("causal", False)):
        built = model(family, timestep=timestep, gating=gating, attention=attention)
        tokens = tokens_of(built)
        changed = tokens.clone()
        changed[:, -1] = (changed[:, -1] + 1) % 50
        moved = (logits(built, changed) - logits(built, tokens))[:, 0].abs().max() > 1e-6
        assert bool(moved) is seen
        changed = tokens.clone()
        changed[:, 0] = (changed[:, 0] + 1) % 50
        assert (logits(built, changed) - logits(built, tokens))[:, -1].abs().max() > 1e-6


@pytest.mark.parametrize("family", ["dit", "unidisc"])
def test_time_matters_as_it_is_told(family):
    for timestep, matters in (("adaln", True), ("none", False)):
        built = model(family, timestep=timestep, gating="zero")
        tokens = tokens_of(built)
        assert bool((logits(built, tokens, 0.1) - logits(built, tokens, 0.9)).abs().max() > 1e-4) is matters


def test_a_zero_gate_silences_the_blocks_at_step_0_and_an_identity_gate_does_not():
    for gating, silent in (("zero", True), ("identity", False), ("released", False)):
        torch.manual_seed(0)
        built = MeDiMModel(MeDiMConfig(backbone={"model_type": "dit", **SHAPE}, **FIELDS, gating=gating)).eval()
        tokens = tokens_of(built)
        changed = tokens.clone()
        changed[:, 2] = (changed[:, 2] + 1) % 50
        assert bool((logits(built, changed) - logits(built, tokens)).abs().max() == 0) is silent


@pytest.mark.parametrize("family", ["dit", "unidisc"])
def test_saved_and_loaded_is_the_same_model_and_checkpointing_changes_nothing(family, tmp_path):
    built = model(family)
    built.save_pretrained(tmp_path)
    again = MeDiMModel.from_pretrained(tmp_path).eval()
    tokens = tokens_of(built)
    torch.testing.assert_close(logits(again, tokens), logits(built, tokens))
    gradients = []
    for _ in range(2):
        built.train().zero_grad()
        logits(built, tokens).square().mean().backward()
        gradients.append([p.grad.clone() for p in built.parameters() if p.grad is not None])
        built.gradient_checkpointing_enable()
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("family", ["dit", "unidisc"])
def test_a_stand_in_has_as_many_parameters_as_the_model_it_stands_in_for(family):
    def count(config) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in MeDiMModel(MeDiMConfig(backbone=config.to_dict(), **FIELDS)).parameters())

    llama = {
        "model_type": "llama",
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_attention_heads": 3,
        "vocab_size": 50,
        "num_key_value_heads": 3,
        "num_hidden_layers": 4,
    }
    target = count(config_of(llama))
    found = count(matched(family, 4, 50, target, count))
    assert abs(found / target - 1) < 0.01
    with pytest.raises(UserError, match="has as few as 9,000 parameters"):
        matched(family, 4, 50, 9_000, count)


def test_rotation_depends_on_distance_alone_and_on_both_axes_of_an_image():
    turn = sequence_angles(12, 8)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    q, k = rotate(q.expand(1, 1, 12, 8), turn)[0, 0], rotate(k.expand(1, 1, 12, 8), turn)[0, 0]
    scores = q @ k.T
    torch.testing.assert_close(scores[2, 5], scores[6, 9])
    assert (scores[2, 5] - scores[2, 6]).abs() > 1e-4
    grid = canvas_angles(12, slice(1, 10), 8)  # 3 x 3
    torch.testing.assert_close(grid[1 + 3] - grid[1], grid[1 + 7] - grid[1 + 4])  # one row down, in two columns
    torch.testing.assert_close(grid[1 + 1] - grid[1], grid[1 + 8] - grid[1 + 7])  # one column on, in two rows
    assert (grid[1 + 3] - grid[1]).abs()[:2].max() > 0.5
    assert (grid[1 + 3] - grid[1]).abs()[2:].max() == 0


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(UserError, match="unknown backbone family 'unidisk'; did you mean 'unidisc'"):
        config_of({"model_type": "unidisk"})
