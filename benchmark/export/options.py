"""The options of `medim-bench export`, which its Python function takes too."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from benchmark.options import FILE, Cache, CheckerLabels, Checkers, Device, Features, Option, Out, Overrides, Overwrite, Seed
from medim.common.errors import UserError

FormName = Literal["folder", "huggingface", "llava", "parquet", "r2gen", "webdataset"]
Allowance = Literal["credentialed", "near-copies", "unscreened"]
CREDENTIALED, NEAR_COPIES, UNSCREENED = ALLOWANCES = get_args(Allowance)
LOOSE_IMAGES: tuple[FormName, ...] = ("folder", "huggingface", "llava", "r2gen")
"""Formats whose images are files, which the questions of `--twins` name."""
_MODEL = "What generates the pairs; with --pairs, what gives their likelihood."
_DATA = "The set that --model was trained on: its training images are searched, its terms go with the pairs."
_DISTANCE = "Drop pairs nearer to a training image, in units of the near-copy threshold.  [default: 1]"
_PROMPTS = "YAML: templates such as 'A {modality} of the {region}', and a list for each placeholder; all equally often."
_TWINS = "N couples of pairs that differ in one finding, by the editor, and grounding.jsonl that asks."


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is exported: pairs that a model draws, or pairs that exist (a model then only gives likelihoods).
    Raises UserError: options that do not go together."""

    model: Annotated[str | None, Option(_MODEL, metavar="NAME|DIR|HUB-ID")] = None
    n: Annotated[int | None, Option("Unique pairs that --model generates.", low=1)] = None
    pairs: Annotated[
        str | None, Option("Pairs to convert in place of generating: anything that --data takes.", metavar="NAME|DIR")
    ] = None
    data: Annotated[str | None, Option(_DATA, metavar="NAME|DIR")] = None
    form: Annotated[FormName | None, Option("The form to write.", "--format", kind="format")] = None
    twins: Annotated[bool, Option(_TWINS)] = False
    prompts: Annotated[Path | None, Option(_PROMPTS, metavar="FILE", type=FILE)] = None
    out: Out | None = None
    min_agreement: Annotated[float | None, Option("Drop pairs whose image and report share fewer findings.", low=0, high=1)] = (
        None
    )
    max_nats: Annotated[
        float | None, Option("Drop pairs that the model finds less likely: nats of image and report together.")
    ] = None
    min_distance: Annotated[float | None, Option(_DISTANCE, low=0)] = None
    allow: Annotated[
        tuple[Allowance, ...], Option("Force by name what is refused otherwise; repeatable.", kind="allowance")
    ] = ()
    attempts: Annotated[int, Option("Tries for each of the n pairs.", low=1)] = 8
    draws: Annotated[int, Option("Of noise, for a likelihood; 0: none.", low=0)] = 8
    features: Features = ()
    checkers: Checkers = ()
    checker_labels: CheckerLabels | None = None
    shard_size: Annotated[int, Option("Pairs of a shard.", low=1)] = 512
    shard: Annotated[
        str | None, Option("This process takes the I-th of N parts.  [default: RANK of WORLD_SIZE, if set]", metavar="I/N")
    ] = None
    seed: Seed = 0
    batch_size: Annotated[int, Option("Pairs drawn at once.", low=1)] = 64
    device: Device | None = None
    overrides: Overrides = field(default_factory=dict)
    cache: Cache | None = None
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        if self.form is None or self.out is None:
            raise UserError("export needs --format F and --out DIR")
        if self.pairs is None and (self.model is None or self.n is None):
            raise UserError("export needs --model M and --n N, or --pairs DIR")
        if self.pairs is not None and (self.n is not None or self.prompts is not None):
            raise UserError("--pairs converts pairs that exist: --n and --prompts belong to --model")
        if self.twins and (self.pairs is not None or self.prompts is not None):
            raise UserError("--twins are drawn by --model from nothing: --pairs and --prompts do not go with them")
        if self.twins and self.form not in LOOSE_IMAGES:
            loose = ", ".join(LOOSE_IMAGES)
            raise UserError(f"--twins needs a format with loose images, which its questions name: {loose}; not {self.form}")
        if self.data is None and self.pairs is None:
            raise UserError("export --model needs --data: the set that the model was trained on, whose terms go with the pairs")
        if self.data is None and UNSCREENED not in self.allow:
            raise UserError(
                "export --pairs needs --data, whose training images are searched for copies; --allow unscreened does without"
            )
