"""`medim-bench export`: generated or real pairs in the form another project trains on."""

from pathlib import Path

import click

from benchmark.options import NearestChoice, data_option, device_option, model_option, out_option, overwrite_option, seed_option
from benchmark.status import not_built

FORMATS = ("huggingface", "llava", "r2gen", "webdataset")


@click.command(short_help="Not built yet: write pairs in another project's format.")
@model_option(required=False)
@click.option("--n", type=click.IntRange(min=1), help="Pairs to generate with --model.")
@click.option("--pairs", metavar="DIR", type=click.Path(path_type=Path), help="Folder with pairs.jsonl, in place of --model.")
@data_option(required=False)
@click.option("--format", "format_", type=NearestChoice("format", FORMATS), help="The form to write.")
@out_option(required=False)
@seed_option()
@device_option()
@overwrite_option()
def export(
    model: str | None,
    n: int | None,
    pairs: Path | None,
    data: str | None,
    format_: str | None,
    out: Path | None,
    seed: int,
    device: str | None,
    overwrite: bool,
) -> None:
    """Will write generated or real pairs in the form that LLaVA, R2Gen, WebDataset or datasets read, with the data's terms."""
    not_built("export", "it will write generated or real pairs in the form that other projects train on")
