"""Every variant of the training runs, continues to the same bits, and does what its field says."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from medim.common.errors import UserError
from medim.pipeline import MeDiMPipeline
from medim.training.callbacks import EMA
from medim.training.optimization import cosine_with_doubling_restarts
from medim.training.train import train_model

VARIANTS = {
    "average": ("ema_decay=0.9",),
    "low rank": ("lora_rank=2",),
    "annealed": ("mask_annealing=6",),
    "shifted": ("logit_alignment=shift",),
    "autoregressive": ("objective=autoregressive",),
    "uniform": ("transition=uniform",),
    "hybrid, cosine": ("transition=hybrid", "schedule=cosine"),
    "soft weight": ("min_snr=5", "schedule=polynomial"),
    "restarts": ("restart_steps=3",),
    "checkpointing": ("gradient_checkpointing=true",),
    "dit": (
        "backbone={model_type: dit, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64}",
    ),
    "unidisc": (
        "backbone={model_type: unidisc, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64}",
    ),
}


def weights(out) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_it_trains_is_saved_and_continues_to_the_same_bits(squares, recipe_file, tmp_path, settings):
    settings = (*settings, "graft_codebook=false")
    whole = train_model(str(recipe_file), squares, tmp_path / "whole", overrides=settings, device="cpu")
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    for leftover in (*half.glob("checkpoint-8"), half / "model.safetensors", half / "training.json"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    train_model(str(recipe_file), squares, half, overrides=settings, device="cpu")
    a, b = weights(whole), weights(half)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not any("lora" in key or "base_layer" in key for key in a)
    pipeline = MeDiMPipeline.from_pretrained(whole, device="cpu")
    image = pipeline.generate_images(["the square is red."], seeds=[0])[0]
    assert image.size == (16, 16)
    assert pipeline.generate_reports([image, image], seeds=[0, 1])[0] == pipeline.generate_reports([image], seeds=[0])[0]
    assert pipeline.generate_pairs(["the square"], seeds=[3])[0][1].startswith("the square")


def test_the_average_is_what_is_saved(squares, recipe_file, tmp_path):
    """By hand from the weights of each step, the second with the recipe's decay: (1 + n) / (10 + n) is beyond it by then."""
    steps = [
        train_model(
            str(recipe_file), squares, tmp_path / f"{n}", overrides=("lr_scheduler_type=constant",), steps=n, device="cpu"
        )
        for n in (1, 2)
    ]
    averaged = train_model(
        str(recipe_file),
        squares,
        tmp_path / "averaged",
        steps=2,
        device="cpu",
        overrides=("lr_scheduler_type=constant", "ema_decay=0.2", "save_steps=2"),
    )
    start = train_model(
        str(recipe_file), squares, tmp_path / "start", steps=1, device="cpu", overrides=("learning_rate=1e-12",)
    )
    key = "backbone.decoder.layers.0.mlp.up_proj.weight"
    expected = weights(start)[key]
    for n, out in enumerate(steps, start=1):
        expected = expected.lerp(weights(out)[key], 1 - min(0.2, (1 + n) / (10 + n)))
    torch.testing.assert_close(weights(averaged)[key], expected, atol=1e-6, rtol=1e-5)
    assert not torch.equal(weights(averaged)[key], weights(steps[1])[key])
    assert (averaged / "checkpoint-2" / EMA).exists()


def test_low_rank_training_leaves_the_embedding_alone_and_moves_the_matrices(squares, recipe_file, tmp_path):
    still = train_model(str(recipe_file), squares, tmp_path / "still", overrides=("learning_rate=1e-12",), device="cpu")
    moved = train_model(str(recipe_file), squares, tmp_path / "moved", overrides=("lora_rank=2",), device="cpu")
    a, b = weights(still), weights(moved)
    embedding = "backbone.decoder.embed_tokens.weight"
    assert torch.allclose(a[embedding], b[embedding], rtol=0, atol=1e-9)  # the first learns next to nothing
    change = b["backbone.decoder.layers.0.mlp.up_proj.weight"] - a["backbone.decoder.layers.0.mlp.up_proj.weight"]
    assert torch.linalg.matrix_rank(change, atol=1e-7) == 2
    assert not torch.equal(a["image_head.weight"], b["image_head.weight"])


def test_annealing_refuses_what_it_cannot_go_with(squares, recipe_file, tmp_path):
    with pytest.raises(UserError, match="torch_compile=false"):
        train_model(str(recipe_file), squares, tmp_path, overrides=("mask_annealing=4", "torch_compile=true"), device="cpu")
    with pytest.raises(UserError, match="attention=causal keeps"):
        train_model(str(recipe_file), squares, tmp_path, overrides=("mask_annealing=4", "attention=causal"), device="cpu")


def test_restarted_cycles_double():
    factors = [cosine_with_doubling_restarts(step, 10, 100) for step in range(720)]
    peaks = [step for step in range(1, 719) if factors[step] >= factors[step - 1] and factors[step] > factors[step + 1]]
    assert peaks == [10, 110, 310, 710]
    assert max(factors) == 1
    assert factors[0] == 0
