"""How fast data, training, sampling and scoring are on this machine; the options of `medim-bench speed sample`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from benchmark.options import Cache, Data, Device, Model, Option, Out, Overwrite, Seed, setting

_BASELINES = "The model's own sampler against the released procedure, too."
_MARGIN = "How much worse than the baseline would not matter, in F1."
_SET = "Override a setting of the model's own sampler, such as sampling.image.steps=32; repeatable."
_SWEEP = "The samplers: by name, what differs."


@dataclass(frozen=True, kw_only=True)
class SampleSpeedOptions:
    """Which samplers are compared, and on what."""

    model: Model
    data: Data
    split: Annotated[str, Option("Whose cases the samples are scored against.")] = "val"
    n: Annotated[int, Option("Samples of each sampler.", metavar="N", low=1)] = 256
    sweep: Annotated[str, Option(_SWEEP, metavar="NAME|FILE.yaml")] = "default"
    batch_size: Annotated[int, Option("Samples drawn at once.", low=1)] = 64
    baselines: Annotated[bool, Option(_BASELINES)] = False
    margin: Annotated[float, Option(_MARGIN, above=0)] = 0.02
    rounds: Annotated[int, Option("Alternating turns of --baselines.", low=1)] = 3
    dtype: Annotated[Literal["fp32", "bf16"], Option("Of the denoiser.")] = "fp32"
    out: Out
    seed: Seed = 0
    device: Device | None = None
    overrides: Annotated[dict[str, str], setting(_SET)]
    cache: Cache | None = None
    overwrite: Overwrite = False
