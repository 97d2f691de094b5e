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
@click.option(
    "--margin", "margins", multiple=True, metavar="METRIC=VALUE",
    help="How much worse would not matter, such as BLEU-4=0.01: says who is non-inferior; repeatable.",
)  # fmt: skip
def build(runs: tuple[Path, ...], out: Path, margins: tuple[str, ...]) -> None:
    """Reads run folders; writes leaderboard.csv, leaderboard_wide.csv, results.jsonl, plots/ and index.html.

    Models on the same cases are compared pair by pair, patients swapped between them, from the sums that their runs kept
    (comparisons.jsonl); runs of one model with several seeds are taken together (seeds.jsonl).
    """
    from benchmark.comparisons import compare_runs, parse_margin

    stated = dict(map(parse_margin, margins))
    for folder in runs:
        if not folder.is_dir():
            raise UserError(f"run '{folder}' is not a folder")
    from leaderboard.build import build as build_leaderboard

    comparisons, notes = compare_runs(runs, stated)
    for note in notes:
        click.echo(note, err=True)
    result = build_leaderboard(runs, out, comparisons=comparisons)
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


@leaderboard.command(short_help="Recompute values and intervals from the sums kept with them.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def verify(folder: Path) -> None:
    """Recomputes, from the sums by patient that runs keep in statistics/, every value and interval of the records in DIR.

    DIR is the folder of a run, or one that holds several. Neither data nor predictions are needed. Names each record that
    differs, and then stops with status 2.
    """
    from benchmark.verify import verify as verify_folder

    found = verify_folder(folder)
    for problem in found.problems:
        click.echo(problem)
    click.echo(
        f"{found.agree} records agree with their sums, {len(found.problems)} do not; "
        f"{found.without} have no sums to recompute from, {found.withheld} no value"
    )
    if found.problems:
        raise UserError(f"{len(found.problems)} records in '{folder}' do not agree with their sums")
