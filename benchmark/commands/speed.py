"""`medim-bench speed`: how fast data, training, sampling and scoring are here."""

from pathlib import Path
from typing import Annotated, Any

import click

from benchmark.cli import NearestGroup
from benchmark.options import FOLDER, Data, Device, Option, with_options
from benchmark.speed import SampleSpeedOptions
from medim.data.phantom import DEFAULT

_AROUND = "Gone through again where it has fewer."
_CACHED = "Keep drawn pictures in this folder, and read them from there."
Out = Annotated[Path, Option("Folder for the figures, as JSON.", metavar="DIR", type=FOLDER)]
Split = Annotated[str, Option(_AROUND, metavar="SPLIT")]


@click.group(cls=NearestGroup, short_help="Measure data, training, sampling and scoring.")
def speed() -> None:
    """Measures what this machine does in a second, beside what it could give: see the parts."""


def _report(found: Any, out: Path | None, name: str) -> None:
    """Prints the table of a result, and writes its figures into `out`."""
    from medim.common.files import write_json

    click.echo(found.table())
    if out is not None:
        write_json(out / name, found.as_dict())
        click.echo(f"figures: {out / name}")


@speed.command(short_help="Reading against tokenising, and whether memory stays flat.")
@with_options
def data(
    data: Data,
    n: Annotated[int, Option("Pairs to read and tokenise.", metavar="N", low=1)] = 5000,
    tokenizer: Annotated[str, Option("The image tokenizer.", metavar="NAME|DIR")] = "phantom-tiny",
    split: Split = "train",
    workers: Annotated[int, Option("Processes that draw or decode; 0: this one.", low=0)] = 0,
    cached: Annotated[Path | None, Option(_CACHED, metavar="DIR", type=FOLDER)] = None,
    out: Out | None = None,
    device: Device | None = None,
) -> None:
    """Reads and tokenises N pairs in alternating turns: images a second of each, their ratio, and peak memory."""
    from medim.data.loading import load_dataset

    dataset = load_dataset(data)  # before the slow imports: a mistyped name is reported at once
    from benchmark.speed.data import measure
    from benchmark.systems import best_device
    from medim.checkpoints import resolve
    from medim.tokenizers.image import ImageTokenizer

    images = ImageTokenizer.from_pretrained(resolve(tokenizer, "image_tokenizer"))
    images.to(best_device(device))
    _report(measure(dataset, images, tokenizer, n, split=split, workers=workers, cache=cached), out, "data_speed.json")


@speed.command(short_help="A training step, and its share of what this machine can do.")
@with_options
def train(
    layers: Annotated[int, Option("Of the backbone.", low=1)] = 4,
    width: Annotated[int, Option("A multiple of 64.", low=64)] = 512,
    batch: Annotated[int, Option("Canvases of 1,282 tokens.", low=1)] = 1,
    rounds: Annotated[int, Option("Steps that are timed.", low=1)] = 5,
    bf16: Annotated[bool, Option("The type of the step.", "--bf16/--fp32")] = False,
    out: Out | None = None,
    device: Device | None = None,
) -> None:
    """Times a step, forward and backward, of 1,024 image and 256 report tokens over 40,196 ids, beside a matrix product."""
    from benchmark.speed.train import Shape, measure
    from benchmark.systems import best_device

    shape = Shape(layers=layers, width=width, batch=batch)
    _report(measure(shape, best_device(device), bf16, rounds), out, "train_speed.json")


@speed.command(short_help="The parts of scoring, in seconds.")
@with_options
def metrics(
    data: Annotated[str, Option("Whose reports and images.", metavar="NAME|DIR")] = DEFAULT,
    split: Split = "train",
    n: Annotated[int, Option("Reports that are scored.", metavar="N", low=1)] = 600,
    out: Out | None = None,
    device: Device | None = None,
) -> None:
    """Scores N reports of two systems on the same references, and some images, and prints the seconds of each part.

    The second system pays nothing for the references. Further parts: an interval by 10,000 resamples, image features, and the
    exact Fréchet distance.
    """
    from medim.data.loading import load_dataset

    dataset = load_dataset(data)
    from benchmark.speed.metrics import measure
    from benchmark.systems import best_device

    _report(measure(dataset, split, n, best_device(device)), out, "metrics_speed.json")


@speed.command(short_help="Samplers of a model: speed, compute and what the samples are worth.")
@with_options
def sample(options: SampleSpeedOptions) -> int:
    """Draws and scores N samples with each sampler of a sweep: samples/s, tokens/s, FLOPs, share of the machine's roof.

    Writes sample_speed.json, sample_speed.csv and pareto.png: joint agreement (or finding F1), by the checker that scores,
    against FLOPs a sample. With --baselines the model's own sampler is timed in alternating turns against the released
    procedure on the same weights (sampling.procedure=released: 128 steps, a second row for guidance where something is given,
    full logits), at its batch of 1 and at ours, and the difference of their scores is held against the margin.

    Samples and figures are stored sampler by sampler: the same command goes on after a kill.
    """
    from benchmark.speed.sweep import run_sample_speed

    return run_sample_speed(options)
