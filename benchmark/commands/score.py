"""`medim-bench score`: tasks on predictions that another system made."""

from pathlib import Path

import click

from benchmark.options import data_option, limit_option, out_option, overwrite_option, seed_option
from benchmark.status import not_built


@click.command(short_help="Not built yet: score a folder of predictions.")
@click.argument("tasks", nargs=-1, metavar="TASK...")
@click.option("--predictions", metavar="DIR", type=click.Path(path_type=Path), help="Folder with predictions.jsonl.")
@data_option(required=False)
@out_option(required=False)
@limit_option()
@seed_option()
@overwrite_option()
def score(
    tasks: tuple[str, ...],
    predictions: Path | None,
    data: str | None,
    out: Path | None,
    limit: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Will score DIR/predictions.jsonl, one {"id", "image" (path) and/or "report"} a line, exactly as `run` scores a model."""
    not_built("score", "it will score a folder of another system's predictions exactly as `run` scores a model")
