"""Plans are counts: of the parameters that a model really has, of the multiplications that it really does."""

import pytest
import torch
from click.testing import CliRunner

from benchmark.cli import main
from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.training.planning import plan
from medim.training.recipe import ModelRecipe, load_recipe, presets
from medim.training.train import random_config


def recipe(*overrides: str, preset: str = "phantom-tiny") -> ModelRecipe:
    return load_recipe(ModelRecipe, preset, "", list(overrides))


@pytest.mark.parametrize("name", list(presets("")))
def test_every_preset_can_be_planned_without_its_weights(name):
    result = CliRunner().invoke(main, ["train", "model", "--preset", name, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "days on 8 a100" in result.output


def test_the_shape_of_smollm2_is_that_of_its_weights():
    """135 million, and the rows and heads that images, structure and places add."""
    parts = plan(recipe(preset="smollm2"), "smollm2", 1, "ddp").parameters
    backbone = ("blocks", "text embedding", "norms and other backbone parts")
    assert sum(parts[part] for part in backbone) == 134_515_008


def test_the_shape_of_a_backbone_does_not_outlive_it():
    assert recipe(preset="smollm2").backbone_shape is not None
    assert recipe("backbone=weights/another", preset="smollm2").backbone_shape is None


def test_parameters_are_those_of_the_model():
    own = recipe()
    fields = {**own.model_fields_of_config(), "image_codes": 256, "image_length": 64}
    model = MeDiMModel(random_config(own, own.report_vocabulary, fields))
    counted = plan(own, "phantom-tiny", 1, "ddp")
    assert sum(counted.parameters.values()) == sum(p.numel() for p in model.parameters())
    assert counted.parameters["blocks"] == sum(p.numel() for p in model.backbone.blocks.parameters())


def test_compute_is_what_the_blocks_multiply():
    """2 multiply-adds a parameter and token in the blocks; 4 L^2 d a block for attention; the modulation once a sample."""
    counted = plan(recipe(), "phantom-tiny", 1, "ddp")
    batch, length, width, blocks = 64, 114, 256, 6
    matrices = 4 * 256 * 256 + 3 * 256 * 512
    forward = batch * (blocks * (2 * length * matrices + 4 * length**2 * width))
    forward += batch * 2 * (blocks * 6 * width**2 + 2 * width**2 + 512 * width + width**2)  # AdaLN, last norm, time
    forward += batch * 2 * width * (32 * 256 + 24 * 1000)  # half of the image and of the report positions
    assert counted.flops_per_step == pytest.approx(3 * forward, rel=0.01)


def test_kept_activations_are_those_that_autograd_keeps():
    """Counted on the meta device against the bytes that a real pass holds (float32, twice the plan's two bytes)."""
    from torch.autograd.graph import saved_tensors_hooks

    own = recipe("per_device_train_batch_size=4", "bf16=false")
    fields = {**own.model_fields_of_config(), "image_codes": 256, "image_length": 64}
    model = MeDiMModel(random_config(own, own.report_vocabulary, fields))
    model.backbone.set_kernel("sdpa")
    held = {}
    storages = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor):
        if tensor.is_floating_point() and tensor.untyped_storage().data_ptr() not in storages:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.zeros(4, 114, dtype=torch.long)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model.hidden(tokens, torch.rand(4, 2))
    real = sum(tensor.untyped_storage().nbytes() for tensor in held.values())
    counted = plan(own, "phantom-tiny", 1, "ddp")
    logits = 3 * 4 * min(1 << 24, 4 * 114 * 1000)
    assert counted.activation_bytes - logits == pytest.approx(real, rel=0.25)


def test_sharding_recomputing_and_low_rank_do_what_they_are_for():
    whole, shared = plan(recipe(), "phantom-tiny", 8, "ddp"), plan(recipe(), "phantom-tiny", 8, "fsdp")
    assert shared.state_bytes == pytest.approx(whole.state_bytes / 8)
    again = plan(recipe("gradient_checkpointing=true"), "phantom-tiny", 8, "ddp")
    assert again.activation_bytes < whole.activation_bytes
    assert again.flops_per_step == pytest.approx(whole.flops_per_step * 4 / 3)
    low = plan(recipe("lora_rank=4"), "phantom-tiny", 8, "ddp")
    assert low.trained < whole.trained
    assert low.state_bytes < whole.state_bytes


def test_what_does_not_fit_is_said_and_mistakes_name_the_nearest():
    said = CliRunner().invoke(
        main, ["train", "model", "--preset", "liquid-7b", "--dry-run", "--gpus", "1", "--sharding", "ddp", "--gpu", "l40s"]
    )
    assert "does not fit: try more GPUs with --sharding fsdp" in said.output
    wrong = CliRunner().invoke(main, ["train", "model", "--preset", "liquid-7b", "--dry-run", "--gpu", "h20"])
    assert "unknown GPU 'h20'; did you mean 'h200'?" in wrong.output
    with pytest.raises(UserError, match="unknown model 'nowhere'"):
        plan(recipe("image_tokenizer=nowhere"), "phantom-tiny", 1, "ddp")


def test_the_geometry_is_that_of_the_tokenizer_that_is_given(tokenizer_folder):
    own = [*("train", "model", "--preset", "smollm2", "--dry-run"), "--set", "per_device_train_batch_size=1", "--gpus", "1"]
    for given in (["--tokenizer", str(tokenizer_folder)], ["--set", f"image_tokenizer={tokenizer_folder}"]):
        planned = CliRunner().invoke(main, [*own, *given])
        assert planned.exit_code == 0, planned.output
        assert f"tokens a step{16 + 128 + 2:>37,}" in planned.output
    missing = CliRunner().invoke(main, [*own, "--tokenizer", str(tokenizer_folder / "none")])
    assert missing.exit_code == 2
    assert "does not exist" in missing.output


def test_a_recipe_of_the_user_is_planned_with_the_tokenizer_of_what_it_extends(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: dit-smollm2\nreport_length: 64\n")
    planned = CliRunner().invoke(main, ["train", "model", "--preset", str(mine), "--dry-run"])
    assert planned.exit_code == 0, planned.output
    whole = tmp_path / "whole.yaml"
    whole.write_text("backbone: {model_type: llama}\nreport_length: 64\nmax_steps: 1\nreport_vocabulary: 300\n")
    told = CliRunner().invoke(main, ["train", "model", "--preset", str(whole), "--dry-run"])
    assert told.exit_code == 2
    assert "no tokenizer recipe has" in told.output


def test_the_hint_for_what_does_not_fit_names_nothing_that_the_recipe_has():
    def hint(*options: str) -> str:
        said = CliRunner().invoke(main, ["train", "model", "--preset", "liquid-7b", "--dry-run", "--gpus", "1", *options])
        return next(line for line in said.output.splitlines() if "does not fit" in line)

    one = hint("--gpu", "h200", "--sharding", "ddp")
    assert "more GPUs with --sharding fsdp" in one
    assert "lora_rank" in one
    assert not any(has in one for has in ("gradient_checkpointing", "bf16", "ema_decay"))
    assert "per_device_train_batch_size" not in one  # weights, gradients and optimiser alone are more than it has
    small = hint("--gpu", "rtx4090", "--set", "lora_rank=8", "--set", "ema_decay=0.9", "--set", "gradient_checkpointing=false")
    assert "no ema_decay" in small
    assert "lora_rank" not in small
