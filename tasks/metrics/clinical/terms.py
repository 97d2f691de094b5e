"""The term lists of the rules that read reports: YAML files beside this module."""

import hashlib
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

_FOLDER = Path(__file__).parent


def read_terms(name: str) -> dict[str, Any]:
    """The content of `<name>.yaml`."""
    content: dict[str, Any] = yaml.safe_load(_file(name).read_text(encoding="utf-8"))
    return content


def either(alternatives: Iterable[str]) -> str:
    """One regular expression for all of them, without a group around it."""
    return "|".join(alternatives)


def rules_hash(modules: Sequence[ModuleType], names: Sequence[str]) -> str:
    """Hash of the source of these modules and of these term lists, for signatures."""
    parts = [*map(inspect.getsource, modules), *(_file(name).read_text(encoding="utf-8") for name in names)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _file(name: str) -> Path:
    return _FOLDER / f"{name}.yaml"
