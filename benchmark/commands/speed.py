"""`medim-bench speed`: how fast training, sampling and scoring are here."""

import click

from benchmark.options import NearestChoice, device_option, model_option, out_option, set_option
from benchmark.status import not_built

PARTS = ("train", "sample", "metrics")


@click.command(short_help="Not built yet: measure training, sampling or scoring.")
@click.argument("part", required=False, type=NearestChoice("part", PARTS), metavar="[train|sample|metrics]")
@model_option(required=False)
@out_option(required=False)
@device_option()
@set_option()
def speed(part: str | None, model: str | None, out: object, device: str | None, overrides: dict[str, str]) -> None:
    """Will measure samples a second and memory of training, sampling or scoring, beside what the machine could give."""
    not_built("speed", "it will measure training, sampling or scoring beside what the machine could give")
