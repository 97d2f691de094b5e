"""`medim-bench train`: a model, or the image tokenizer it needs."""

from typing import Annotated, Literal

import click

from benchmark.cli import NearestGroup
from benchmark.options import Data, Device, Option, Out, Overwrite, setting, with_options
from medim.common.errors import unknown

_SWEEP = "Train one per codebook size into DIR/codes-N; then a table, a plot and a picture."
_TOKENIZER = "Folder of a trained image tokenizer; else the one that the preset names."
Preset = Annotated[str, Option("Name of a recipe, or the path of its YAML file.", metavar="NAME|FILE.yaml")]
Steps = Annotated[int, Option("Optimiser steps, in place of the recipe's.", metavar="N", low=1)]


@click.group(cls=NearestGroup, short_help="Train a model, or the image tokenizer it needs.")
def train() -> None:
    """Trains a model, or the image tokenizer it needs. The same command again continues a training that was interrupted."""


@train.command(short_help="Train MeDiM on the pairs of a data set.")
@with_options
def model(
    preset: Preset,
    overrides: Annotated[
        dict[str, str],
        setting("Override a field of the recipe (TrainingArguments names), such as learning_rate=1e-4; repeatable."),
    ],
    data: Data | None = None,
    out: Out | None = None,
    tokenizer: Annotated[str | None, Option(_TOKENIZER, metavar="DIR")] = None,
    steps: Steps | None = None,
    workers: Annotated[int, Option("Processes that read pairs while images are tokenised.  [default: 0]", low=0)] = 0,
    dry_run: Annotated[bool, Option("Print parameters, memory and duration; needs neither data nor weights.")] = False,
    gpus: Annotated[int, Option("With --dry-run: how many.", low=1)] = 8,
    gpu: Annotated[str, Option("With --dry-run: a100, h100, h200, b200, ...", metavar="NAME")] = "a100",
    sharding: Annotated[Literal["ddp", "fsdp"], Option("With --dry-run.")] = "fsdp",
    device: Device | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Trains the denoiser: config.yaml, metrics.jsonl, checkpoints and the final model in from_pretrained form go to --out."""
    if dry_run:
        if tokenizer is not None:
            overrides = {**overrides, "image_tokenizer": tokenizer}
        _dry_run(preset, steps, overrides, gpus, gpu, sharding)
        return
    if data is None or out is None:
        raise click.UsageError("--data and --out are needed (all but --dry-run)")
    from medim.data.loading import load_dataset

    dataset = load_dataset(data)  # before the slow imports: a mistyped name is reported at once
    from medim.training.train import train_model

    settings = tuple(f"{key}={value}" for key, value in overrides.items())
    train_model(
        preset,
        dataset,
        out,
        tokenizer=tokenizer,
        steps=steps,
        overrides=settings,
        overwrite=overwrite,
        device=device,
        workers=workers,
    )
    click.echo(f"model: {out}")


def _dry_run(
    preset: str, steps: int | None, overrides: dict[str, str], gpus: int, gpu: str, sharding: Literal["ddp", "fsdp"]
) -> None:
    from medim.training.planning import GPUS, describe_plan, plan
    from medim.training.recipe import ModelRecipe, load_recipe

    if gpu not in GPUS:
        raise unknown("GPU", gpu, GPUS)
    if steps is not None:
        overrides = {**overrides, "max_steps": str(steps)}
    recipe = load_recipe(ModelRecipe, preset, "", [f"{key}={value}" for key, value in overrides.items()])
    for line in describe_plan(plan(recipe, preset, gpus, sharding), gpus, gpu, sharding):
        click.echo(line)


@train.command(short_help="Train the image tokenizer (VQGAN) on the images of a data set.")
@with_options
def tokenizer(
    preset: Preset,
    data: Data,
    out: Out,
    overrides: Annotated[dict[str, str], setting("Override a field of the recipe, such as codes=512; repeatable.")],
    steps: Steps | None = None,
    sweep: Annotated[str | None, Option(_SWEEP, metavar="codes=N,N,...")] = None,
    device: Device | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Trains the image tokenizer; --out gets config.yaml, metrics.jsonl, checkpoints, the weights, and what a round trip loses:
    reconstruction.json (PSNR, SSIM, feature distance, finding F1, codebook use, by domain) and reconstructions.png."""
    from medim.data.loading import load_dataset
    from medim.training.tokenizer.recipe import load_tokenizer_recipe

    if steps is not None:
        overrides = {**overrides, "steps": str(steps)}
    recipe = load_tokenizer_recipe(preset, [f"{key}={value}" for key, value in overrides.items()])
    dataset = load_dataset(data)
    if sweep is not None:
        from medim.training.tokenizer.sweep import TABLE, folder_of, parse_sweep, sweep_codes

        sizes = parse_sweep(sweep)
        sweep_codes(dataset, recipe, sizes, out, device=device, overwrite=overwrite)
        click.echo(f"tokenizers: {', '.join(str(folder_of(out, codes)) for codes in sizes)}")
        click.echo(f"table: {out / TABLE}")
        return
    from medim.training.tokenizer.train import train_tokenizer

    train_tokenizer(dataset, recipe, out, device=device, overwrite=overwrite)
    click.echo(f"tokenizer: {out}")
