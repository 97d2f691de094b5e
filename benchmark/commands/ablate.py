"""`medim-bench ablate`: the same training with one choice changed at a time."""

from pathlib import Path

import click

from benchmark.options import data_option, device_option, out_option, overwrite_option, set_option
from benchmark.status import not_built


@click.command(short_help="Not built yet: compare design choices, one at a time.")
@click.option("--arms", metavar="A,B,...", help="Arms to train; all by default.")
@click.option("--preset", metavar="NAME|FILE.yaml", help="The recipe that the arms vary.")
@data_option(required=False)
@out_option(required=False)
@click.option("--seeds", metavar="0,1,2", default="0", show_default=True, help="Seeds to train every arm with.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Optimiser steps of every arm.")
@device_option()
@set_option()
@overwrite_option()
def ablate(
    arms: str | None,
    preset: str | None,
    data: str | None,
    out: Path | None,
    seeds: str,
    steps: int | None,
    device: str | None,
    overrides: dict[str, str],
    overwrite: bool,
) -> None:
    """Will train a recipe with one choice changed at a time (causal mask, no AdaLN, ...), over seeds, and rank the arms."""
    not_built("ablate", "it will train a recipe with one choice changed at a time, over seeds, and rank the arms")
