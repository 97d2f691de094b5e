"""A classifier of transformers with random weights, as that package saves it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
PROCESSOR = {"image_mean": (0.5, 0.4, 0.3), "image_std": (0.2, 0.3, 0.4), "size": {"height": 32, "width": 32}}


def _vit(
    folder: Path, problem: str | None = "multi_label_classification", seed: int = 0
) -> transformers.ViTForImageClassification:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        names = {0: "Effusion", 1: "Edema", 2: "No Finding"}
        config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8, id2label=names)
        config.problem_type = problem
        model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return model


@pytest.fixture(scope="session")
def vit() -> Callable[..., transformers.ViTForImageClassification]:
    """Saves a tiny ViT of the labels Effusion, Edema and No Finding: `vit(folder, problem_type, seed)`."""
    return _vit
