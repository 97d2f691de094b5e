"""The protocol of augmentation as data: which arms, how many seeds and steps, what is stated beforehand."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medim.common.declared import checked, read_mapping, read_yaml
from medim.common.errors import unknown

Regime = Literal["budget-matched", "external-prior"]

REAL, REPEATED, CLASSICAL = "real", "real-repeated", "real+classical"
SYNTHETIC, SYNTHETIC_ONLY, SHUFFLED = "real+synthetic", "synthetic-only", "real+shuffled"
PSEUDO, MORE_REAL, PLACEBO = "real+pseudo", "more-real", "real-as-synthetic"
ARMS: Mapping[str, str] = {
    REAL: "the real pairs, as many passes as the arm with 100 % synthetic pairs and so fewer steps: the usual comparison",
    REPEATED: "the real pairs for as many steps as every other arm: what all gains are measured against",
    CLASSICAL: "the real pairs, turned, shifted and in another brightness",
    SYNTHETIC: "the real pairs and generated ones",
    SYNTHETIC_ONLY: "generated pairs alone, as many as there are real ones",
    SHUFFLED: "the real pairs and the generated ones of 100 %, their reports dealt to other images",
    PSEUDO: "the real pairs and as many other real images, with reports that the generator wrote",
    MORE_REAL: "the real pairs and further real ones: the ceiling",
    PLACEBO: "the real pairs, and the same once more by way of the generated ones: must equal real-repeated",
}
CONDITIONS, NO_PROMPTS = "conditions", "none"


class AugmentationSettings(BaseModel):
    """What `medim-bench run augmentation --preset` names; `--set augmentation.FIELD=...` replaces a field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    downstream: str = "r2gen-tiny"  # what is trained (`tasks.downstream.open_downstream`)
    # share of the training patients that make the low-data set, where `--data` does not say `train=` itself
    train: float = Field(default=0.01, gt=0, le=1)
    arms: tuple[str, ...] = Field(min_length=1)  # of `ARMS`; `real-repeated` is always among them
    levels: tuple[int, ...] = (100,)  # generated pairs of `real+synthetic`, in per cent of the real ones
    more_real: tuple[int, ...] = (100,)  # further real pairs of `more-real`, in per cent of the real ones: the learning curve
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)  # of the downstream trainings of every arm
    steps: int = Field(default=2000, ge=1)  # optimiser steps of every arm but `real`
    # steps between two looks at the validation pairs, the lowest loss of which is kept
    evaluate_every: int = Field(default=200, ge=1)
    # validation, test: most cases of these splits, whole patients
    validation: int = Field(default=256, ge=1)
    test: int = Field(default=512, ge=1)
    # `conditions` (opening and condition, in the words of the low-data set), `none`, or a YAML file of templates
    prompts: str = CONDITIONS
    # generated pairs whose image and report share fewer findings are drawn anew; None: all are taken
    min_agreement: float | None = Field(default=None, ge=0, le=1)
    attempts: int = Field(default=8, ge=1)  # tries for each generated pair
    margin: float = Field(default=0.02, gt=0)  # of equivalence, in finding F1, stated before anything is run
    keep_models: bool = False  # keep the trained downstream models; else their scores and curves alone stay

    @field_validator("train", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        """`1%` is 0.01."""
        return float(value.removesuffix("%")) / 100 if isinstance(value, str) and value.endswith("%") else value

    @field_validator("arms")
    @classmethod
    def _known(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        for name in arms:
            if name not in ARMS:
                raise ValueError(str(unknown("arm", name, ARMS)))
        return tuple(name for name in ARMS if name in arms or name == REPEATED)

    @field_validator("levels", "more_real", "seeds")
    @classmethod
    def _distinct(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(values)) < len(values) or any(value < 0 for value in values):
            raise ValueError("numbers from 0, each once")
        return tuple(sorted(values))


def parse_settings(text: str, where: str, overrides: Mapping[str, str]) -> AugmentationSettings:
    """Settings from YAML, with some fields replaced; values of overrides are YAML too (`[25,50]`, `25,50`, `null`).
    Raises UserError: broken YAML, or a field that is unknown or invalid; `where` names the file."""
    content = read_mapping(text, where)
    for key, value in overrides.items():
        if key not in AugmentationSettings.model_fields:
            raise unknown("setting augmentation.", key, AugmentationSettings.model_fields)
        listed = key in ("arms", "levels", "more_real", "seeds") and not value.lstrip().startswith("[")
        content[key] = read_yaml(f"[{value}]" if listed else value, f"{where}: augmentation.{key}")
    return checked(AugmentationSettings, content, where)
