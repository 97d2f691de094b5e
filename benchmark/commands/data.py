"""`medim-bench data`: prepare, check and show a data set."""

from pathlib import Path

import click

from benchmark.cli import NearestGroup
from benchmark.options import out_option
from benchmark.status import not_built


@click.group(cls=NearestGroup, short_help="Prepare, check and show a data set.")
def data() -> None:
    """Prepares, checks and shows a data set."""


@data.command(short_help="Not built yet: bring a downloaded data set into pairs.jsonl.")
@click.argument("name", required=False)
@click.option("--root", metavar="DIR", type=click.Path(path_type=Path), help="Where the data set was downloaded to.")
@out_option(required=False)
def prepare(name: str | None, root: Path | None, out: Path | None) -> None:
    """Will turn a downloaded data set (mimic-cxr, openi, pathgen, ...) into a folder with pairs.jsonl, split by patient."""
    not_built("data prepare", "it will turn a downloaded data set into a folder with pairs.jsonl, split by patient")


@data.command(short_help="Not built yet: find what is wrong with a data set.")
@click.argument("data", required=False)
def check(data: str | None) -> None:
    """Will read every pair and report unreadable images, empty reports, leaks between splits and doubtful labels."""
    not_built("data check", "it will read every pair and list what is wrong, by file and line")


@data.command(short_help="Not built yet: a picture of a data set's pairs.")
@click.argument("data", required=False)
@click.option("--out", metavar="FILE.png", type=click.Path(dir_okay=False, path_type=Path), help="The picture.")
def show(data: str | None, out: Path | None) -> None:
    """Will draw a contact sheet of a data set's pairs, with counts by split, domain and finding."""
    not_built("data show", "it will draw a contact sheet of a data set's pairs, with counts by split, domain and finding")
