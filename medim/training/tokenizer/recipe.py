"""The recipe of a tokenizer's training: a preset or a YAML file, with overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from medim.training.recipe import Count, Rate, RecipeFields, Seed, Share, Size, Steps, Weight, load_recipe

SUFFIX = "-tokenizer"
GEOMETRY = {"resolution", "downsampling", "codes", "latent_channels", "channels", "layers_per_block", "attention"}
"""Fields that `ImageTokenizer.build` takes."""


class TokenizerRecipe(RecipeFields):
    """Geometry, losses and schedule of one training. Units: pixels, optimiser steps, weights of a sum of losses."""

    # geometry
    resolution: int = Field(ge=1, le=1 << 13)
    downsampling: int = Field(ge=1, le=1 << 11)
    codes: int = Field(ge=2, le=1 << 20)
    latent_channels: Size = 16
    channels: tuple[Size, ...] = Field((16, 32, 64, 128), min_length=1, max_length=12)
    layers_per_block: int = Field(1, ge=1, le=64)
    attention: bool = True

    # optimiser: AdamW, linear warm-up, cosine to zero
    steps: Count
    batch_size: Size = 32
    learning_rate: Rate = 1e-3
    warmup_steps: Steps = 100
    weight_decay: float = Field(0.0, ge=0, le=100)
    max_grad_norm: float = Field(1.0, ge=1e-6, le=1e6)

    # losses
    l1_weight: Weight = 1.0
    l2_weight: Weight = 0.0
    gradient_weight: Weight = 0.0  # L1 between horizontal and vertical differences: edges, lines, dots
    perceptual_weight: Weight = 0.0  # EfficientNet-Lite0 features; a score on the same features then does not rank
    adversarial_weight: Weight = 0.0
    adversarial_start: Steps = 0
    commitment: Weight = 0.25

    # codebook
    quantize_start: Steps = 200  # steps of plain autoencoding before the k-means start, at most a quarter of all
    codebook_decay: float = Field(0.99, gt=0, lt=1)
    restart_every: Count = 100
    restart_until: float = Field(0.8, ge=0, le=1)  # share of the steps after which no code moves any more
    dead_below: Share = 0.01  # share of the uniform usage

    # run
    cache_images: Count = 16384
    eval_images: Count = 512
    eval_every: Count = 250
    save_steps: Count = 250
    logging_steps: Count = 25
    seed: Seed = 0
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
        if not self.l1_weight + self.l2_weight + self.gradient_weight + self.perceptual_weight:
            raise ValueError("l1_weight, l2_weight, gradient_weight and perceptual_weight are all 0: nothing is learned")
        if self.resolution % self.downsampling:
            raise ValueError(f"resolution {self.resolution} is not a multiple of downsampling {self.downsampling}")
        return self


def load_tokenizer_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> TokenizerRecipe:
    """The tokenizer recipe of a preset (`phantom-tiny`) or a YAML file; see `medim.training.recipe.load_recipe`."""
    return load_recipe(TokenizerRecipe, name_or_path, SUFFIX, overrides)
