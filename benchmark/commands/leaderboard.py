"""`medim-bench leaderboard`: tables, plots and one page from run folders."""

from pathlib import Path
from typing import Annotated

import click

from benchmark.cli import NearestGroup
from benchmark.options import FILE, Cache, CheckerLabels, Checkers, Judge, Option, Out, with_options
from medim.common.errors import UserError

TABLE = "leaderboard.md"
_INTO = "Rewrite the marked block of this file from the runs in and below DIR: short tables and one picture."
_MARGIN = "How much worse would not matter, such as BLEU-4=0.01: says who is non-inferior; repeatable."
_STORE = "Folder of run folders to add to.  [default: leaderboard/results of this installation]"


@click.group(cls=NearestGroup, short_help="Build and show the leaderboard.")
def leaderboard() -> None:
    """Builds and shows the leaderboard: tables, plots and one page from run folders."""


@leaderboard.command(short_help="Build tables, plots and the page from runs.")
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...", type=click.Path(path_type=Path))
@with_options
def build(
    runs: tuple[Path, ...], out: Out, margins: Annotated[tuple[str, ...], Option(_MARGIN, "--margin", "METRIC=VALUE")] = ()
) -> None:
    """Reads run folders, or folders that hold some; writes tables (CSV, JSON lines, Markdown), plots/ and index.html.

    Models on the same cases are compared pair by pair, patients swapped between them, from the sums that their runs stored
    (comparisons.jsonl); runs of one model with several seeds are taken together (seeds.jsonl).
    """
    from benchmark.results.comparisons import compare_runs, parse_margin

    stated = dict(map(parse_margin, margins))
    for folder in runs:
        if not folder.is_dir():
            raise UserError(f"run '{folder}' is not a folder")
    from leaderboard.build import build as build_leaderboard
    from leaderboard.build import check_size
    from leaderboard.store import run_folders

    runs = tuple(folder for run in runs for folder in run_folders(run) or [run])
    check_size(runs)
    comparisons, notes = compare_runs(runs, stated)
    for note in notes:
        click.echo(note, err=True)
    result = build_leaderboard(runs, out, comparisons=comparisons)
    click.echo(f"{result.n_records} records from {len(runs)} {'run' if len(runs) == 1 else 'runs'}\npage: {out / 'index.html'}")


@leaderboard.command(short_help="Print a built leaderboard, or write it into a README.")
@click.argument("folder", default="runs/demo", metavar="[DIR]", type=click.Path(path_type=Path))
@with_options
def show(
    folder: Path,
    into: Annotated[Path | None, Option(_INTO, metavar="FILE.md", type=FILE)] = None,
    picture: Annotated[
        Path | None,
        Option("Where the picture goes, with --into.  [default: DIR/leaderboard.png]", metavar="FILE.png", type=FILE),
    ] = None,
) -> None:
    """Prints the table of a built leaderboard, or of a run (default: runs/demo); or writes it into a README."""
    if into is not None:
        from benchmark.results.comparisons import compare_runs
        from leaderboard.readme import rewrite
        from leaderboard.store import run_folders

        runs = run_folders(folder)
        if not runs:
            raise UserError(f"no runs in or below '{folder}'")
        comparisons, _ = compare_runs(runs)
        picture = picture or folder / "leaderboard.png"
        rewrite(into, runs, picture, comparisons)
        click.echo(f"{into}: tables of {len(runs)} {'run' if len(runs) == 1 else 'runs'}\npicture: {picture}")
        return
    for path in (folder / TABLE, folder / "leaderboard" / TABLE):
        if path.is_file():
            click.echo(path.read_text(encoding="utf-8"))
            return
    raise UserError(f"no leaderboard in '{folder}': build one with `medim-bench leaderboard build RUNS... --out {folder}`")


@leaderboard.command(short_help="Check a submission and add it to a store.")
@click.argument("records", metavar="RECORDS", type=click.Path(path_type=Path))
@with_options
def add(
    records: Path,
    store: Annotated[Path | None, Option(_STORE, "--to", "STORE")] = None,
    data: Annotated[
        str | None, Option("The data that it was scored on: its hash is then checked, too.", metavar="NAME|DIR")
    ] = None,
) -> None:
    """Checks the run folder (or records.jsonl) RECORDS and merges its records into a store of results.

    Refused, with file, line and field: what is malformed, contradicts its manifest, repeats a record, was scored on another
    split, has values that the sums by patient in its statistics/ do not give, or lacks sums where others have them. A
    submission needs neither data nor predictions: manifest.json, records.jsonl and statistics/ are all that is read, and all
    that is stored. The same command again adds nothing twice.
    """
    from benchmark.results.check_sums import verify as verify_folder
    from leaderboard.store import read_manifest
    from leaderboard.submission import DEFAULT_STORE, RefusedError
    from leaderboard.submission import add as add_submission

    folder = records if records.is_dir() else records.parent
    if data is not None:
        from benchmark.results.rescore import check_split
        from medim.data.loading import load_dataset

        check_split(folder / "manifest.json", read_manifest(folder / "manifest.json"), load_dataset(data))
    store = DEFAULT_STORE if store is None else store
    try:
        added = add_submission(records, store, lambda folder: verify_folder(folder).problems)
    except RefusedError as refused:
        for reason in refused.reasons[1:]:
            click.echo(reason, err=True)
        raise
    click.echo(f"{added.new} records added, {added.known} there already: {added.folder}")
    if added.without_sums:
        click.echo(
            f"{added.without_sums} values have no sums by patient: they are taken as stated, and shown as unverified; "
            f"`medim-bench leaderboard verify {folder} --data D` scores the predictions again"
        )


@leaderboard.command(short_help="Recompute records from their sums, or from the predictions.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@with_options
def verify(
    folder: Path,
    data: Annotated[
        str | None, Option("Score the predictions of the run DIR again, on this data set.", metavar="NAME|DIR")
    ] = None,
    predictions: Annotated[
        Path | None, Option("Where they are, with --data.  [default: those that the run stored in samples/]", metavar="DIR")
    ] = None,
    cache: Cache | None = None,
    judge: Judge | None = None,
    checkers: Checkers = (),
    checker_labels: CheckerLabels | None = None,
) -> None:
    """Recomputes, from the sums by patient that runs keep in statistics/, every value and interval of the records in DIR.

    DIR is the folder of a run, or one that holds several. Neither data nor predictions are needed. With --data, the
    predictions of a run are also scored again, and every record compared; what a judge said or a checker read of
    them needs the same one, --judge and --checker. Names each record that differs and each file of sums that is missing,
    and then stops with status 2.
    """
    from benchmark.results.check_sums import verify as verify_folder

    if predictions is not None and data is None:
        raise UserError("--predictions needs --data: what do they answer?")
    found = verify_folder(folder)
    for problem in found.problems:
        click.echo(problem)
    for path, records in found.missing.items():
        click.echo(f"{path}: missing: {records} records name it as their sums; copy it from the run, or add the run again")
    missing = f"{sum(found.missing.values())} name sums that are missing, " if found.missing else ""
    click.echo(
        f"{found.agree} records agree with their sums, {len(found.problems)} do not; {missing}"
        f"{found.without} have no sums to recompute from, {found.withheld} no value"
    )
    problems = found.problems
    if data is not None:
        from benchmark.results.rescore import rescore
        from benchmark.run.cache import cache_folder
        from medim.data.loading import load_dataset

        folder_of_cache = cache_folder(cache, load_dataset(data))
        again = rescore(folder, data, predictions, folder_of_cache, judge, checkers, checker_labels)
        for problem in again.problems:
            click.echo(problem)
        for what, reason in again.skipped.items():
            click.echo(f"{what}: not scored again: {reason}")
        click.echo(f"{again.agree} records agree with their predictions, {len(again.problems)} do not")
        problems = problems + again.problems
    if problems:
        raise UserError(f"{len(problems)} records in '{folder}' do not agree with what they come from")
    if found.missing:
        raise UserError(
            f"{len(found.missing)} files of sums that records in '{folder}' name are missing: their values are as stated"
        )
