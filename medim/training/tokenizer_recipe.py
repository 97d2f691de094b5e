"""What a tokenizer's training is made of, and how it is read: a named recipe or a YAML file, with overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from medim.errors import UserError, unknown

RECIPES = Path(__file__).parent / "recipes"
SUFFIX = "-tokenizer.yaml"


class TokenizerRecipe(BaseModel):
    """Geometry, losses and schedule of one training. Units: pixels, optimiser steps, weights of a sum of losses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # geometry
    resolution: PositiveInt
    downsampling: PositiveInt
    codes: PositiveInt = Field(ge=2)
    latent_channels: PositiveInt = 16
    channels: tuple[PositiveInt, ...] = (16, 32, 64, 128)
    layers_per_block: PositiveInt = 1
    attention: bool = True

    # optimiser: AdamW, linear warm-up, cosine to zero
    steps: PositiveInt
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-3
    warmup_steps: NonNegativeInt = 100
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: PositiveFloat = 1.0

    # losses
    l1_weight: NonNegativeFloat = 1.0
    l2_weight: NonNegativeFloat = 0.0
    gradient_weight: NonNegativeFloat = 0.0  # L1 between horizontal and vertical differences: edges, lines, dots
    perceptual_weight: NonNegativeFloat = 0.0  # EfficientNet-Lite0 features; a score on the same features then does not rank
    adversarial_weight: NonNegativeFloat = 0.0
    adversarial_start: NonNegativeInt = 0
    commitment: NonNegativeFloat = 0.25

    # codebook
    quantize_start: NonNegativeInt = 200  # steps of plain autoencoding before the k-means start, at most a quarter of all
    codebook_decay: float = Field(0.99, gt=0, lt=1)
    restart_every: PositiveInt = 100
    restart_until: float = Field(0.8, ge=0, le=1)  # share of the steps after which no code moves any more
    dead_below: NonNegativeFloat = 0.01  # share of the uniform usage

    # run
    cache_images: PositiveInt = 16384
    eval_images: PositiveInt = 512
    eval_every: PositiveInt = 250
    save_steps: PositiveInt = 250
    logging_steps: PositiveInt = 25
    seed: NonNegativeInt = 0
    bf16: bool = True
    weights: Literal["float32", "float16"] = "float16"  # on disk

    @property
    def first_quantised_step(self) -> int:
        """`quantize_start`, or a quarter of the steps where that is earlier: a short run has a codebook too."""
        return min(self.quantize_start, self.steps // 4)


def load_tokenizer_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> TokenizerRecipe:
    """Reads a recipe.

    Args:
        name_or_path: a preset that has a tokenizer recipe (`phantom-tiny`) or the path of a YAML file.
        overrides: `key=value`; the value is read as YAML.

    Raises:
        UserError: unknown name, key or value; broken YAML.
    """
    known = {path.name.removesuffix(SUFFIX): path for path in RECIPES.glob(f"*{SUFFIX}")}
    name = str(name_or_path)
    if name in known:
        path = known[name]
    elif Path(name).is_file():
        path = Path(name)
    elif name.endswith((".yaml", ".yml")) or "/" in name:
        raise UserError(f"tokenizer recipe '{name}' does not exist")
    else:
        raise unknown("tokenizer recipe", name, known)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"tokenizer recipe '{path.name}' is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"tokenizer recipe '{path.name}' is not a mapping of fields to values")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"override '{override}' is not of the form key=value")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"override '{override}': the value is not YAML") from error
    return recipe_from(values, path.name)


def recipe_from(values: dict[str, Any], source: str) -> TokenizerRecipe:
    """Checks values; `source` is named in the errors.

    Raises:
        UserError: a key that does not exist (with the nearest), or the first value that does not fit.
    """
    for key in values:
        if key not in TokenizerRecipe.model_fields:
            raise unknown(f"field of tokenizer recipe {source}", str(key), TokenizerRecipe.model_fields)
    try:
        recipe = TokenizerRecipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"tokenizer recipe {source}: {place}: {first['msg']} (given: {first['input']!r})") from error
    if recipe.downsampling != 2 ** (len(recipe.channels) - 1):
        raise UserError(
            f"tokenizer recipe {source}: downsampling {recipe.downsampling} does not fit {len(recipe.channels)} channels"
            f" (it is 2 ** (entries - 1) = {2 ** (len(recipe.channels) - 1)})"
        )
    if recipe.resolution % recipe.downsampling:
        raise UserError(
            f"tokenizer recipe {source}: resolution {recipe.resolution} is not a multiple of downsampling {recipe.downsampling}"
        )
    return recipe
