"""What adapters of other libraries' models share: one task, settings in the signature, weights found and hashed."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from PIL import Image

from medim.common.errors import UserError, one_line, unknown
from medim.common.files import hash_files, hash_of
from tasks.protocols import ModelError, Request

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_HASHED = {".safetensors", ".bin", ".json", ".txt", ".model"}


class OneTask:
    """A generator of one modality: of the three kinds of request it answers one. `modality`: image or report: what it generates
    from the other one. `resolution`: side of the images it is shown or draws, in pixels; None where any will do."""

    modality: str
    resolution: int | None = None

    def __init__(self, name: str, fingerprint: str, settings: Mapping[str, Any]) -> None:
        self.name, self.fingerprint, self._settings = name, fingerprint, dict(settings)

    def settings(self) -> dict[str, Any]:
        """All that decides what is drawn, beside the weights and the seed."""
        return dict(self._settings)

    def cannot(self, task: Request) -> str | None:
        """Any task that needs more, or something else, than its one modality."""
        return None if tuple(task.needs) == (self.modality,) and task.prompted else self._alone

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        self._refuse("images")

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        self._refuse("reports")

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        self._refuse("pairs")

    def _failure(self, error: Exception, hints: Mapping[str, str]) -> ModelError:
        """What to raise for an error of the model's.
        `hints`: what may help, by a regular expression that is looked for in the error."""
        return ModelError(f"'{self.name}' failed: {one_line(error)}{hint(error, hints)}")

    def _refuse(self, what: str) -> NoReturn:
        raise UserError(f"'{self.name}' cannot generate {what}: {self._alone}")

    @property
    def _alone(self) -> str:
        return f"it is a model for {self.modality}-generation alone"


def dtype_of(name: str) -> torch.dtype:
    """The type of the weights that `--set dtype=...` names; a UserError for another name."""
    if name not in DTYPES:
        raise UserError(f"--set dtype={name}: one of {', '.join(DTYPES)}")
    return DTYPES[name]


def folder_fingerprint(folder: Path) -> str:
    """Hash over the weights and configuration files of a model's folder, with their places in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _HASHED)
    return hash_of([[path.relative_to(folder).as_posix(), hash_files(path)] for path in files])


MEMORY = r"out of memory|MemoryError|can't allocate memory|not enough memory"
PRECISION = r"same dtype|scalar type|not implemented for '(Half|BFloat16)'|probability tensor contains|data type"
HINTS = {
    MEMORY: "take --batch-size 1, --set dtype=bfloat16, or another --device",
    PRECISION: "try --set dtype=float32",
    r"CUDA|[Dd]evice": "try --device cpu",
}
"""For every kind of model; the first that fits is printed, after those of the adapter."""


def hint(error: Exception, hints: Mapping[str, str]) -> str:
    """What may help, to be put behind the error; nothing where no hint fits."""
    text = f"{type(error).__name__}: {error}"
    return next((f"; {advice}" for pattern, advice in {**hints, **HINTS}.items() if re.search(pattern, text)), "")


def read_settings(given: Mapping[str, str], defaults: Mapping[str, Any], system: str) -> dict[str, Any]:
    """The defaults, with what is given in their place, read as the defaults' types; a default of None takes text.
    Raises UserError: an unknown key (the nearest is named), or a value of another type."""
    settings = dict(defaults)
    for key, text in given.items():
        if key not in defaults:
            raise unknown(f"setting of {system}", key, defaults)
        settings[key] = _read(key, text, defaults[key], system)
    return settings


def _read(key: str, text: str, default: Any, system: str) -> Any:
    if isinstance(default, bool):
        if text.lower() not in _WORDS:
            raise UserError(f"--set {key}={text}: {system} takes true or false here")
        return _WORDS[text.lower()]
    if isinstance(default, int | float):
        try:
            value = type(default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise UserError(f"--set {key}={text}: {system} takes {kind} here") from None
        if value < 0:
            raise UserError(f"--set {key}={text}: {system} takes no negative number here")
        return value
    return text
