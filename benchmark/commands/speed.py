"""`medim-bench speed`: how fast data, training, sampling and scoring are here."""

from pathlib import Path
from typing import Any

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.cli import NearestGroup
from benchmark.commands.options import (
    cache_option,
    data_option,
    device_option,
    model_option,
    out_option,
    overwrite_option,
    seed_option,
    set_option,
)


@click.group(cls=NearestGroup, short_help="Measure data, training, sampling and scoring.")
def speed() -> None:
    """Measures what this machine does in a second, beside what it could give or what others do: see the parts."""


@speed.command(short_help="Reading against tokenising, and whether memory stays flat.")
@data_option()
@click.option(
    "--n", type=click.IntRange(min=1), default=5000, show_default=True, metavar="N", help="Pairs to read and tokenise."
)
@click.option("--tokenizer", default="phantom-tiny", show_default=True, metavar="NAME|DIR", help="The image tokenizer.")
@click.option(
    "--split", default="train", show_default=True, metavar="SPLIT", help="Gone through again where it has fewer pairs."
)
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that draw or decode; 0: this one."
)
@click.option(
    "--cached",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep drawn pictures in this folder, and read them from there; drawing is still measured, one turn in ten.",
)
@out_option(required=False, help="Folder for data_speed.json.")
@device_option()
def data(
    data: str, n: int, tokenizer: str, split: str, workers: int, cached: Path | None, out: Path | None, device: str | None
) -> None:
    """Reads and tokenises N pairs in alternating turns: images a second of each, their ratio, and peak memory."""
    from medim.data.loading import load_dataset

    dataset = load_dataset(data)  # before the slow imports: a mistyped name is told at once
    import torch

    from benchmark.speed.data import measure
    from medim.checkpoints import resolve
    from medim.common.files import write_json
    from medim.tokenizers.image import ImageTokenizer

    images = ImageTokenizer.from_pretrained(resolve(tokenizer, "image_tokenizer"))
    images.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    found = measure(dataset, images, tokenizer, n, split=split, workers=workers, cache=cached)
    click.echo(found.table())
    if out is not None:
        write_json(out / "data_speed.json", found.as_dict())
        click.echo(f"figures: {out / 'data_speed.json'}")


@speed.command(short_help="A training step against full logits and full cross-entropy.")
@click.option("--layers", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--width", type=click.IntRange(min=64), default=512, show_default=True, help="A multiple of 64.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Canvases of 1,282 tokens.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Steps of each, in turn.")
@click.option("--bf16/--fp32", default=False, show_default=True)
@out_option(required=False, help="Folder for train_speed.json.")
@device_option()
def train(layers: int, width: int, batch: int, rounds: int, bf16: bool, out: Path | None, device: str | None) -> None:
    """Times a step of ours against the public practice, alternating: 1,024 image and 256 report tokens, 40,196 ids."""
    import torch

    from benchmark.speed.train import Shape, measure
    from medim.common.files import write_json

    shape = Shape(layers=layers, width=width, batch=batch)
    found = measure(shape, device or ("cuda" if torch.cuda.is_available() else "cpu"), bf16, rounds)
    click.echo(found.table())
    if out is not None:
        write_json(out / "train_speed.json", found.as_dict())


@speed.command(short_help="Scoring against the ways that papers use, at equal values.")
@data_option(required=False, help="Whose reports.  [default: phantom]")
@click.option("--split", default="train", show_default=True, metavar="SPLIT", help="Gone through again where it has fewer.")
@click.option(
    "--n", type=click.IntRange(min=1), default=600, show_default=True, metavar="N", help="Reports for METEOR and the interval."
)
@click.option(
    "--second", type=click.IntRange(min=0), default=5000, show_default=True, metavar="N",
    help="References that two systems share; 0 leaves this out.",
)  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True, help="Alternating turns of each pair.")
@out_option(required=False, help="Folder for metrics_speed.json.")
@click.pass_context
def metrics(ctx: click.Context, data: str | None, split: str, n: int, second: int, rounds: int, out: Path | None) -> None:
    """Measures four figures of scoring as ratios within this run, in alternating turns, and asserts equal values.

    METEOR against pycocoevalcap's own call; an interval of corpus BLEU-4 by 10,000 resamples against recomputing the score;
    the exact Fréchet distance at d = 2,048, n = 500 against scipy's sqrtm; what a second system on the same references pays
    for these. Some two minutes. Exit status 3: two ways of computing a value differ.
    """
    from medim.data.loading import load_dataset

    dataset = load_dataset(data or "phantom")
    from benchmark.speed.metrics import measure
    from medim.common.files import write_json

    found = measure(dataset, split, n, second, rounds, tell=lambda line: click.echo(line, err=True))
    click.echo(found.table())
    if out is not None:
        write_json(out / "metrics_speed.json", found.as_dict())
        click.echo(f"figures: {out / 'metrics_speed.json'}")
    for failure in found.failures:
        click.echo(f"failed: {failure}", err=True)
    ctx.exit(WITH_FAILURES if found.failures else DONE)


@speed.command(short_help="Samplers of a model: speed, compute and what the samples are worth.")
@model_option()
@data_option()
@click.option("--split", default="val", show_default=True, help="Whose cases the samples are scored against.")
@click.option("--n", type=click.IntRange(min=1), default=256, show_default=True, metavar="N", help="Samples of each sampler.")
@click.option(
    "--sweep", default="default", show_default=True, metavar="NAME|FILE.yaml", help="The samplers: by name, what differs."
)
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(min=1), help="Samples drawn at once.")
@click.option("--baselines", is_flag=True, help="The model's own sampler against the released procedure, too.")
@click.option(
    "--margin",
    type=click.FloatRange(min=0, min_open=True),
    default=0.02,
    show_default=True,
    help="How much worse than the baseline would not matter, in F1.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Alternating turns of --baselines.")
@click.option("--dtype", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@out_option()
@seed_option()
@device_option()
@set_option("Override a setting of the model's own sampler, such as sampling.image.steps=32; repeatable.")
@cache_option()
@overwrite_option()
@click.pass_context
def sample(ctx: click.Context, data: str, sweep: str, dtype: str, **options: Any) -> None:
    """Draws and scores N samples with each sampler of a sweep: samples/s, tokens/s, FLOPs, share of the machine's roof.

    Writes sample_speed.json, sample_speed.csv and pareto.png: joint agreement (or finding F1), by the checker that scores,
    against FLOPs a sample. With --baselines the model's own sampler is timed in alternating turns against the released
    procedure on the same weights (sampling.procedure=released: 128 steps, a second row for guidance where something is given,
    full logits), at its batch of 1 and at ours, and the difference of their scores is held against the margin.

    Samples and figures are kept sampler by sampler: the same command goes on after a kill.
    """
    from benchmark.speed.sweeps import load_sweep
    from medim.data.loading import load_dataset

    chosen, dataset = load_sweep(sweep), load_dataset(data)  # before the slow imports
    from benchmark.speed.sample_run import run_sample_speed

    ctx.exit(run_sample_speed(options.pop("model"), dataset, chosen, bf16=dtype == "bf16", **options))
