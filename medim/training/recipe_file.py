"""Recipes: YAML files with known keys only, `extends: NAME` to start from another preset, and `key=value` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from medim.common.declared import checked, read_mapping, read_yaml
from medim.common.errors import UserError, unknown

RECIPES = Path(__file__).parent / "recipes"
Recipe = TypeVar("Recipe", bound=BaseModel)

Count = Annotated[int, Field(ge=1, le=10**9)]
Steps = Annotated[int, Field(ge=0, le=10**9)]
Size = Annotated[int, Field(ge=1, le=1 << 16)]
Rate = Annotated[float, Field(ge=1e-12, le=1)]
"""Of learning: at 1e-12 no float32 weight moves any more, at 1 every one moves by its own size and more."""
Weight = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]


class RecipeFields(BaseModel):
    """What all recipes share: no unknown key, no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def presets(suffix: str) -> dict[str, Path]:
    """Shipped recipes by name: `NAME{suffix}.yaml`; model recipes have no suffix, tokenizer recipes `-tokenizer`."""
    files = {path.stem: path for path in RECIPES.glob("*.yaml")}
    if suffix:
        return {stem.removesuffix(suffix): path for stem, path in files.items() if stem.endswith(suffix)}
    return {stem: path for stem, path in files.items() if not stem.endswith("-tokenizer")}


def load_recipe(kind: type[Recipe], name_or_path: str | Path, suffix: str, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a preset's or a file's recipe and applies the overrides.

    Args:
        kind: the pydantic class.
        name_or_path: a preset (`phantom-tiny`) or the path of a YAML file.
        suffix: which presets to look among (see `presets`).
        overrides: `key=value` or `key.inner=value`; the value is read as YAML.

    Raises:
        UserError: unknown name, key or value; broken YAML.
    """
    name, known = str(name_or_path), presets(suffix)
    if name in known:
        path = known[name]
    elif Path(name).is_file():
        path = Path(name)
    elif name.endswith((".yaml", ".yml")) or "/" in name:
        raise UserError(f"recipe '{name}' does not exist")
    else:
        raise unknown("preset", name, known)
    values = _read(path, suffix)
    for override in overrides:
        apply(values, override, kind)
    return check(kind, values, path.name)


def _read(path: Path, suffix: str) -> dict[str, Any]:
    """The keys of a file, upon those of the preset that it `extends`."""
    values = read_mapping(path.read_bytes(), f"recipe '{path}'")
    base = values.pop("extends", None)
    if base is None:
        return values
    known = presets(suffix)
    if not isinstance(base, str) or base not in known or known[base] == path:
        raise unknown(f"preset that {path.name} extends", str(base), known)
    return {**_read(known[base], suffix), **values}


def apply(values: dict[str, Any], override: str, kind: type[BaseModel]) -> None:
    """Sets `key=value` or `key.inner=value` in `values`, in place."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"--set {override}: not of the form key=value")
    value = read_yaml(text, f"--set {key}")
    first, *inner = key.strip().split(".")
    if first not in kind.model_fields:
        raise unknown("recipe key", first, kind.model_fields)
    if not inner:
        values[first] = value
        if first == "backbone":
            values.pop("backbone_shape", None)  # of the one that it replaces
        return
    place = values.setdefault(first, {})
    if not isinstance(place, dict) or len(inner) != 1:
        raise UserError(f"--set {override}: '{first}' has no inner keys here")
    values[first] = {**place, inner[0]: value}


def check(kind: type[Recipe], values: dict[str, Any], source: str) -> Recipe:
    """The recipe of `values`; `source` is named in the errors.

    Raises:
        UserError: a key that does not exist (with the nearest), or the first value that does not fit.
    """
    for key in values:
        outer, dot, inner = str(key).partition(".")
        if dot and outer in kind.model_fields:
            raise UserError(f"recipe {source}: key '{key}' is for --set; in a file write {outer}: {{{inner}: ...}}")
    return checked(kind, values, f"recipe {source}")
