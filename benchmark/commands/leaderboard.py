"""`medim-bench leaderboard`: tables, plots and one page from run folders."""

from pathlib import Path

import click

from benchmark.cli import NearestGroup
from benchmark.options import out_option
from benchmark.status import not_built
from medim.errors import UserError

TABLE = "leaderboard.md"


@click.group(cls=NearestGroup, short_help="Build and show the leaderboard.")
def leaderboard() -> None:
    """Builds and shows the leaderboard: tables, plots and one page from run folders."""


@leaderboard.command(short_help="Build tables, plots and the page from runs.")
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...", type=click.Path(path_type=Path))
@out_option()
def build(runs: tuple[Path, ...], out: Path) -> None:
    """Reads run folders; writes leaderboard.csv, leaderboard_wide.csv, results.jsonl, plots/ and index.html."""
    for folder in runs:
        if not folder.is_dir():
            raise UserError(f"run '{folder}' is not a folder")
    from leaderboard.build import build as build_leaderboard

    result = build_leaderboard(runs, out)
    click.echo(f"{result.n_records} records from {len(runs)} {'run' if len(runs) == 1 else 'runs'}\npage: {out / 'index.html'}")


@leaderboard.command(short_help="Print a built leaderboard.")
@click.argument("folder", default="runs/demo", metavar="[DIR]", type=click.Path(path_type=Path))
def show(folder: Path) -> None:
    """Prints the table of a built leaderboard, or of a run (default: runs/demo)."""
    for path in (folder / TABLE, folder / "leaderboard" / TABLE):
        if path.is_file():
            click.echo(path.read_text(encoding="utf-8"))
            return
    raise UserError(f"no leaderboard in '{folder}': build one with `medim-bench leaderboard build RUNS... --out {folder}`")


@leaderboard.command(short_help="Not built yet: add records to the committed results.")
@click.argument("records", required=False, type=click.Path(path_type=Path))
def add(records: Path | None) -> None:
    """Will check the records of a run and add them to the results that this repository publishes."""
    not_built("leaderboard add", "it will check the records of a run and add them to the published results")


@leaderboard.command(short_help="Not built yet: recompute a leaderboard from its predictions.")
@click.argument("folder", required=False, metavar="DIR", type=click.Path(path_type=Path))
def verify(folder: Path | None) -> None:
    """Will recompute every value from the kept predictions, and name those that differ."""
    not_built("leaderboard verify", "it will recompute every value from the kept predictions and name those that differ")
