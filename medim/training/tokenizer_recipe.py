"""What a tokenizer's training is made of, and how it is read: a named recipe or a YAML file, with overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from medim.training.recipe_file import load_recipe

SUFFIX = "-tokenizer"


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

    @model_validator(mode="after")
    def _geometry_fits(self) -> Self:
        factor = 2 ** (len(self.channels) - 1)
        if self.downsampling != factor:
            raise ValueError(
                f"downsampling {self.downsampling} does not fit {len(self.channels)} channels (2 ** (entries - 1) = {factor})"
            )
        if self.resolution % self.downsampling:
            raise ValueError(f"resolution {self.resolution} is not a multiple of downsampling {self.downsampling}")
        return self


def load_tokenizer_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> TokenizerRecipe:
    """The tokenizer recipe of a preset (`phantom-tiny`) or a YAML file; see `medim.training.recipe_file.load_recipe`."""
    return load_recipe(TokenizerRecipe, name_or_path, SUFFIX, overrides)
