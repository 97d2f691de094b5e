"""`medim-bench train`: a model, or the image tokenizer it needs."""

from pathlib import Path

import click

from benchmark.artifacts import clear_training
from benchmark.cli import NearestGroup
from benchmark.options import data_option, device_option, out_option, overwrite_option, set_option
from benchmark.status import not_built

PRESET = "Name of a recipe, or the path of its YAML file."


@click.group(cls=NearestGroup, short_help="Train a model, or the image tokenizer it needs.")
def train() -> None:
    """Trains a model, or the image tokenizer it needs. The same command again continues a training that was interrupted."""


@train.command(short_help="Train MeDiM on the pairs of a data set.")
@click.option("--preset", required=True, metavar="NAME|FILE.yaml", help=PRESET)
@data_option()
@out_option()
@click.option("--tokenizer", metavar="DIR", help="Folder of a trained image tokenizer; else the one that the preset names.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Optimiser steps, in place of the recipe's.")
@click.option("--dry-run", is_flag=True, help="Not built yet: say what would be trained, and what it would need.")
@set_option("Override a field of the recipe (TrainingArguments names), such as learning_rate=1e-4; repeatable.")
@device_option()
@overwrite_option()
def model(
    preset: str,
    data: str,
    out: Path,
    tokenizer: str | None,
    steps: int | None,
    dry_run: bool,
    overrides: dict[str, str],
    device: str | None,
    overwrite: bool,
) -> None:
    """Trains the denoiser: config.yaml, metrics.jsonl, checkpoints and the final model in from_pretrained form go to --out."""
    if dry_run:
        not_built("train model --dry-run", "it will print parameters, memory, throughput and duration without training")
    from medim.data.dataset import load_dataset

    dataset = load_dataset(data)  # before the slow imports: a mistyped name is told at once
    from medim.training.train import train_model

    settings = tuple(f"{key}={value}" for key, value in overrides.items())
    train_model(
        preset, dataset, out, tokenizer=tokenizer, steps=steps, overrides=settings, overwrite=overwrite, device=device
    )  # fmt: skip
    click.echo(f"model: {out}")


@train.command(short_help="Train the image tokenizer (VQGAN) on the images of a data set.")
@click.option("--preset", required=True, metavar="NAME|FILE.yaml", help=PRESET)
@data_option()
@out_option()
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Optimiser steps, in place of the recipe's.")
@set_option("Override a field of the recipe, such as codes=512; repeatable.")
@device_option()
@overwrite_option()
def tokenizer(
    preset: str,
    data: str,
    out: Path,
    steps: int | None,
    overrides: dict[str, str],
    device: str | None,
    overwrite: bool,
) -> None:
    """Trains the image tokenizer; --out gets config.yaml, metrics.jsonl, checkpoints, reconstructions.png and the weights."""
    from medim.data.dataset import load_dataset
    from medim.training.tokenizer_recipe import load_tokenizer_recipe

    if steps is not None:
        overrides = {**overrides, "steps": str(steps)}
    recipe = load_tokenizer_recipe(preset, [f"{key}={value}" for key, value in overrides.items()])
    dataset = load_dataset(data)
    from medim.training.tokenizer import train_tokenizer

    if overwrite:
        clear_training(out)
    train_tokenizer(dataset, recipe, out, device=device)
    click.echo(f"tokenizer: {out}")
