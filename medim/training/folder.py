"""A training's folder: the configuration that owns it, and how it is cleared to start anew."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from medim.common import claims
from medim.common.errors import UserError
from medim.common.files import write_text

CONFIG = "config.yaml"
_LOGS = ("metrics.jsonl", "curve.png", "runs", "cache", "reconstruction.json", "reconstructions.png")
_WEIGHTS = ("checkpoint-*", ".checkpoint-*.tmp", "*.safetensors", "*.safetensors.index.json", "causal_lm")
_SETTINGS = ("config.json", "sampler.json", "image_tokenizer", "image_tokenizer.json", "report_tokenizer")
WRITTEN = ("training.json", *_LOGS, *_WEIGHTS, *_SETTINGS, CONFIG)
"""All that trainings of models and of tokenizers write; last the file by which a removal that was interrupted is known."""


def configuration_in(out: Path, field: str) -> dict[str, Any] | None:
    """The configuration of the training in `out`; None where there is none. `field`: of the recipe, which identifies the kind:
    `backbone` of a model, `codes` of a tokenizer. Raises UserError: `config.yaml` is not of such a training."""
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


def claim(out: Path, configuration: dict[str, Any], overwrite: bool) -> None:
    """Makes `out`, whose lock the caller holds, the folder of a model's training with this configuration.
    Raises UserError: as of `refuse_another`."""
    if overwrite:
        clear_training(out, "backbone")
    refuse_another(out, configuration)
    write_text(out / CONFIG, yaml.safe_dump(configuration, sort_keys=False))


def refuse_another(out: Path, configuration: dict[str, Any]) -> None:
    """Refuses a folder of another configuration.
    Recipes are compared, except for the shape that only a plan reads, and those fingerprints that both sides have.
    Raises UserError: names the first key that differs, or the folder is no model's training."""
    known = configuration_in(out, "backbone")
    if known is None:
        return
    shared = configuration.keys() & known.keys() - {"recipe", "data"}
    given = {**configuration["recipe"], **{key: configuration[key] for key in shared}}
    before = {**known["recipe"], **{key: known[key] for key in shared}}
    sides = ({key: one[key] for key in sorted(one.keys() - {"backbone_shape"})} for one in (before, given))
    claims.refuse_another(out, "a training", *sides, unset_is_null=True)


def clear_training(out: Path, field: str) -> None:
    """Removes what a training wrote into `out`, whose lock the caller holds; `field` as of `configuration_in`.
    Raises UserError: the folder holds something else than such a training."""
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
