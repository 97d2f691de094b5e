"""The options of `medim-bench run` and `medim-bench score`, which their Python functions take too."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from benchmark.options import (
    FILE,
    PROTOCOLS,
    Cache,
    CheckerLabels,
    Checkers,
    Device,
    Features,
    Judge,
    Limit,
    Option,
    Out,
    Overrides,
    Overwrite,
    Protocol,
    Resolution,
    Seed,
    ShowSamples,
    Split,
)
from tasks.adapters.prediction_forms import parse_map

_ANSWERED = "What the predictions answer: a data set, or a folder with pairs.jsonl or reports.jsonl."
_BATCH = "Samples drawn at once; no result depends on it.  [default: 64]"
_DATA = "A registered data set, or a folder with pairs.jsonl; a suite takes several."
_MODEL = (
    "Preset with shipped weights, local folder or hub id; diffusers:M, transformers:M, baseline:NAME; or a generator of "
    "another package."
)
_IDS = "Ids of reports that have none, in their order, as `data ids DATA --out FILE` writes them."
_MAP = "Fields of --predictions: id=FIELD,report=FIELD; image=, references=; a dot leads into an object."
_PREDICTIONS = "Folder with predictions.jsonl, or files <id>.png and <id>.txt; or a file: docs/predictions.md lists its forms."
_PRESET = "augmentation: arms, levels, seeds; --set augmentation.FIELD=...  [default: quick]"
_REFERENCE = "Statistics of `data reference`, in place of the data's images, and of all reports for CIDEr's frequencies."
_REGIME = "augmentation: what --model was trained on: the low-data pairs alone, or more.  [default: external-prior]"
_WITH = "Also the features of every image: with them KID, coverage and intervals can be had. Allow it where the terms do."
_SUITE = "A run as data: demo, quick, full, paper; options given here come before its own."
_MAPPED = Option(_MAP, "--map", "KEY=FIELD,...", callback=lambda ctx, param, value: parse_map(value))


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What is run. None and an empty tuple leave a value to the suite, else to its default."""

    tasks: tuple[str, ...] = ()
    suite: Annotated[str | None, Option(_SUITE, metavar="NAME")] = None
    model: Annotated[str | None, Option(_MODEL, metavar="NAME|DIR|HUB-ID")] = None
    data: Annotated[tuple[str, ...], Option(_DATA, metavar="NAME|DIR")] = ()
    out: Out | None = None
    split: Annotated[str | None, Option("Split to score on.  [default: test]")] = None
    limit: Limit | None = None
    seed: Seed | None = None
    resolution: Resolution | None = None
    protocol: Protocol | None = None
    features: Features = ()
    judge: Judge | None = None
    checkers: Checkers = ()
    checker_labels: CheckerLabels | None = None
    preset: Annotated[str | None, Option(_PRESET, metavar="quick|full|demo")] = None
    regime: Annotated[Literal["budget-matched", "external-prior"] | None, Option(_REGIME)] = None
    downstream: Annotated[
        str | None, Option("augmentation: what is trained on the pairs, such as r2gen-tiny.", metavar="NAME")
    ] = None
    batch_size: Annotated[int | None, Option(_BATCH, low=1)] = None
    device: Device | None = None
    overrides: Overrides = field(default_factory=dict)
    show_samples: ShowSamples = False
    cache: Cache | None = None
    overwrite: Overwrite = False


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Which predictions are scored, or which model takes the grounding test."""

    tasks: tuple[str, ...] = ()
    predictions: Annotated[Path | None, Option(_PREDICTIONS, metavar="DIR|FILE")] = None
    map: Annotated[dict[str, str], _MAPPED] = field(default_factory=dict)
    ids: Annotated[Path | None, Option(_IDS, metavar="FILE")] = None
    reference: Annotated[Path | None, Option(_REFERENCE, metavar="FILE")] = None
    model: Annotated[
        str | None, Option("Of grounding alone: a model that answers by its likelihoods.", metavar="NAME|DIR|HUB-ID")
    ] = None
    data: Annotated[str | None, Option(_ANSWERED, metavar="NAME|DIR")] = None
    out: Out | None = None
    name: Annotated[str | None, Option("The system's name in the table.  [default: that of --predictions]")] = None
    split: Split = "test"
    limit: Limit | None = None
    seed: Seed = 0
    resolution: Resolution | None = None
    protocol: Protocol = PROTOCOLS[0]
    features: Features = ()
    judge: Judge | None = None
    checkers: Checkers = ()
    checker_labels: CheckerLabels | None = None
    device: Device | None = None
    show_samples: ShowSamples = False
    cache: Cache | None = None
    overwrite: Overwrite = False


@dataclass(frozen=True, kw_only=True)
class ReferenceOptions:
    """What is exported, as of the `score` that is to read it."""

    out: Annotated[Path, Option("The file; .npz.", metavar="FILE", type=FILE)]
    split: Split = "test"
    limit: Limit | None = None
    resolution: Resolution | None = None
    protocol: Protocol = PROTOCOLS[0]
    features: Features = ()
    device: Device | None = None
    with_features: Annotated[bool, Option(_WITH)] = False
