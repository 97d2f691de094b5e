"""The presets of `run augmentation`: each YAML file in `presets/` is one of that name."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from medim.common.errors import unknown
from tasks.augmentation.settings import AugmentationSettings, parse_settings

PREFIX = "augmentation."
_FOLDER = "benchmark.augmentation"


def names() -> list[str]:
    """The presets there are."""
    folder = files(_FOLDER) / "presets"
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_preset(name: str, overrides: Mapping[str, str]) -> AugmentationSettings:
    """The settings of a preset, with some fields replaced.

    Raises:
        UserError: no such preset or field, or a value that is not valid.
    """
    if name not in names():
        raise unknown("preset", name, names())
    text = (files(_FOLDER) / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_settings(text, f"{name}.yaml", overrides)
