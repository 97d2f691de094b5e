"""The options of `medim-bench ablate`, which its Python function takes too."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import click

from benchmark.options import Data, Device, Option, Out, Overwrite, setting

_ARMS = "Arms by name, or YAML files with title and overrides of the recipe."
_BACKBONE = "An arm from another causal language model, at the preset's rates; for rates of its own give a file with --arms."
_CHECKPOINT = "Train nothing: this model with mask and timestep switched at inference."
_SET = "A field of the recipe, for all arms, or of the sampler, such as sampling.image.steps=32; repeatable."
_TOKENIZER = "Folder of a trained image tokenizer; else the one that the preset names."
_TOKENIZERS = "An arm with its own image tokenizer; from random weights where the preset's backbone knows the codes of another."


@dataclass(frozen=True, kw_only=True)
class AblateOptions:
    """Which choices are compared, and how.

    Raises:
        click.UsageError: neither a preset to train into `out`, nor a checkpoint.
    """

    set_of: Annotated[
        Literal["table4", "choices", "adaln", "prior", "text-prior", "all"] | None,
        Option("Arms: table4, choices, adaln, prior, text-prior or all.  [default: table4]", kind="set of arms"),
    ] = None
    arms: Annotated[str | None, Option(_ARMS, metavar="A,B,...")] = None
    tokenizer_arms: Annotated[tuple[str, ...], Option(_TOKENIZERS, "--tokenizer-arm", "NAME=DIR")] = ()
    backbone_arms: Annotated[tuple[str, ...], Option(_BACKBONE, "--backbone-arm", "NAME=ID")] = ()
    preset: Annotated[str | None, Option("The recipe that the arms vary.", metavar="NAME|FILE.yaml")] = None
    data: Data
    out: Out | None = None
    tokenizer: Annotated[str | None, Option(_TOKENIZER, metavar="DIR")] = None
    seeds: Annotated[str, Option("Seeds to train every arm with.", metavar="0,1,2")] = "0"
    steps: Annotated[int | None, Option("Optimiser steps of every arm.", metavar="N", low=1)] = None
    jobs: Annotated[int | None, Option("Trainings at once.  [default: one for each GPU, else 1]", metavar="N", low=1)] = None
    eval_pairs: Annotated[int, Option("Validation pairs that compare.", low=1)] = 256
    draws: Annotated[int, Option("Of the noise, for each of them.", low=1)] = 8
    generation: Annotated[
        bool, Option("Sample from every arm, for the other columns of Table 4.", "--generation/--no-generation")
    ] = True
    limit: Annotated[int, Option("Test cases to sample.", metavar="N", low=1)] = 64
    report_only: Annotated[bool, Option("Train nothing: tables and plots of what is done.")] = False
    checkpoint: Annotated[str | None, Option(_CHECKPOINT, metavar="DIR")] = None
    device: Device | None = None
    overrides: Annotated[dict[str, str], setting(_SET)] = field(default_factory=dict)
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        if self.checkpoint is None and (self.preset is None or self.out is None):
            raise click.UsageError("--preset and --out are needed (or --checkpoint)")
