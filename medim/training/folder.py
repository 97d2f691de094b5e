"""A training's folder: what it was configured by, and how it is cleared to start anew."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from medim.common.errors import UserError

CONFIG = "config.yaml"
WRITTEN = (
    "training.json", "metrics.jsonl", "curve.png", "cache", "runs", "checkpoint-*", ".checkpoint-*.tmp", "config.json",
    "*.safetensors", "*.safetensors.index.json", "sampler.json", "image_tokenizer", "report_tokenizer", "causal_lm",
    "image_tokenizer.json", "reconstruction.json", "reconstructions.png", CONFIG,
)  # fmt: skip
"""All that the trainings of models and of tokenizers write, but for the lock; last that by which one half removed is known."""


def configuration_in(out: Path, field: str) -> dict[str, Any] | None:
    """What the training in `out` was configured by; None where none was begun.

    Args:
        field: of the recipe, which tells the kind: `backbone` of a model, `codes` of a tokenizer.

    Raises:
        UserError: `config.yaml` is not of such a training.
    """
    path = out / CONFIG
    if not path.exists():
        return None
    try:
        known = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        known = None
    if not isinstance(known, dict) or not isinstance(known.get("recipe"), dict) or field not in known["recipe"]:
        raise UserError(f"'{path}' is not of a training of this kind; choose another --out")
    return known


def clear_training(out: Path, field: str) -> None:
    """Removes what a training wrote into `out`, which the caller holds; a folder without one is left as it is.

    Args:
        field: as of `configuration_in`.

    Raises:
        UserError: the folder holds something else than such a training.
    """
    if configuration_in(out, field) is not None:
        remove(out, *WRITTEN)
    elif any(out.glob("*.safetensors")):
        raise UserError(f"'{out}' holds weights that no training wrote; --overwrite removes only a training")


def remove(folder: Path, *patterns: str) -> None:
    """Removes the files, folders and links in `folder` that match a pattern."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
