"""Arms of an ablation: what each changes in the recipe, as YAML data."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medim.common.declared import checked, read_mapping
from medim.common.errors import UserError, unknown

FOLDER = Path(__file__).parent
FULL, NO_PRETRAINED = "full", "no-pretrained"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")


def _sets() -> dict[str, list[str]]:
    sets = read_mapping((FOLDER / "sets.yaml").read_text(encoding="utf-8"), "sets.yaml")
    return sets | {"all": list(dict.fromkeys([*sets["table4"], *sets["choices"]]))}


SETS = _sets()


class Arm(BaseModel):
    """One training of an ablation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str  # also its folder's name
    title: str  # in tables and plots
    # fields of `ModelRecipe`; a value such as `20%` is a share of the steps
    overrides: dict[str, Any] = Field(default_factory=dict)
    # its row in Table 4 of the paper (`method` in the published table); None for what the paper did not measure
    paper: str | None = None
    base: str | None = FULL  # the arm that it is compared with; None for the full model

    def settings(self, steps: int) -> list[str]:
        """The overrides as `key=value` for a training of `steps` steps."""
        return [f"{key}={json.dumps(_of_steps(value, steps))}" for key, value in self.overrides.items()]


def _of_steps(value: Any, steps: int) -> Any:
    share = _SHARE.fullmatch(value) if isinstance(value, str) else None
    return value if share is None else max(1, round(float(share[1]) / 100 * steps))


def shipped() -> dict[str, Path]:
    """The arms that come with the package, by name."""
    return {path.stem: path for path in sorted((FOLDER / "arms").glob("*.yaml"))}


def load_arm(name_or_path: str) -> Arm:
    """An arm by name, or from a YAML file of the user's, whose name is the arm's.
    Raises UserError: unknown name (with the nearest), a file that is no arm."""
    known = shipped()
    path = known.get(name_or_path, Path(name_or_path))
    if path.suffix not in (".yaml", ".yml"):
        raise unknown("arm", name_or_path, known)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"arm '{path}' cannot be read: {error}") from error
    return _arm(path.stem, read_mapping(text, f"arm '{path}'"))


def _arm(name: str, values: Mapping[str, Any]) -> Arm:
    if not _NAME.fullmatch(name):
        raise UserError(f"arm '{name}': a name consists of letters, digits, '.', '_' and '-'")
    if "name" in values:
        raise UserError(f"arm '{name}': field 'name': an arm is named by its file")
    return checked(Arm, {"name": name, **({"base": None} if name == FULL else {}), **values}, f"arm '{name}'")


def tokenizer_arm(text: str, codes_known: bool = False) -> Arm:
    """`codes-16=DIR`: the full model on the tokens of another image tokenizer. `codes_known`: the backbone has rows for the
    codes of the preset's tokenizer, which mean nothing in another: the arm then starts from random weights and is compared with
    `no-pretrained`. Raises UserError: not of the form NAME=DIR."""
    name, folder = _named(text, "--tokenizer-arm", "codes-16=runs/sweep/codes-16")
    overrides: dict[str, Any] = {"image_tokenizer": folder}
    base = FULL
    if codes_known:
        overrides |= {"pretrained": False, "lora_rank": None}
        base = NO_PRETRAINED
    return _arm(name, {"title": f"image tokenizer {name}", "overrides": overrides, "base": base})


def backbone_arm(text: str) -> Arm:
    """`smollm2=ID`: the full model from another causal language model, without image rows.
    Raises UserError: not of the form NAME=ID."""
    name, backbone = _named(text, "--backbone-arm", "smollm2=HuggingFaceTB/SmolLM2-135M-Instruct")
    overrides = {"backbone": backbone, "backbone_shape": None, "backbone_image_offset": None, "report_vocabulary": None}
    return _arm(name, {"title": f"backbone {name}", "overrides": overrides | {"pretrained": True}})


def _named(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise UserError(f"{option} {text}: give NAME=VALUE, such as {example}")
    return name, value


def chosen_arms(names: Sequence[str], more: Iterable[Arm] = ()) -> list[Arm]:
    """The arms of these names (or files), each once, every one after the arm that it is compared with.
    Raises UserError: an unknown arm, or two of one name."""
    found: dict[str, Arm] = {}

    def add(arm: Arm, above: tuple[str, ...] = ()) -> None:
        if arm.name in above:
            raise UserError(f"arm '{arm.name}' is compared with itself: {' -> '.join([*above, arm.name])}")
        if arm.base is not None and arm.base not in found:
            add(known.get(arm.base) or load_arm(arm.base), (*above, arm.name))
        if found.setdefault(arm.name, arm) != arm:
            raise UserError(f"two arms are named '{arm.name}'")

    arms = [*map(load_arm, names), *more]
    known = {arm.name: arm for arm in arms}
    for arm in arms:
        add(arm)
    return list(found.values())
