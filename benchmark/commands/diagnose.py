"""`medim-bench diagnose`: what holds a checkpoint back."""

from pathlib import Path

import click

from benchmark.options import data_option, device_option, limit_option, out_option, seed_option
from benchmark.status import not_built


@click.command(short_help="Not built yet: find what holds a checkpoint back.")
@click.argument("checkpoint", required=False)
@data_option(required=False)
@out_option(required=False)
@limit_option()
@seed_option()
@device_option()
def diagnose(
    checkpoint: str | None, data: str | None, out: Path | None, limit: int | None, seed: int, device: str | None
) -> None:
    """Will split a checkpoint's error into tokenizer, denoiser and sampler: loss by noise level, by modality, by finding."""
    not_built("diagnose", "it will split a checkpoint's error into tokenizer, denoiser and sampler")
