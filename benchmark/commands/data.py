"""`medim-bench data`: prepare, check and show a data set."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.cli import NearestGroup
from benchmark.commands.options import NearestChoice, limit_option, out_option, overwrite_option, seed_option, set_option
from medim.data.checks.report import ALLOWABLE

if TYPE_CHECKING:
    from medim.data.archives.prepare import Plan


@click.group(cls=NearestGroup, short_help="Prepare, check and show a data set.")
def data() -> None:
    """Prepares, checks and shows a data set."""


@data.command(short_help="Turn a downloaded archive into a folder with pairs.jsonl.")
@click.argument("name")
@click.option("--root", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where the archive lies.")
@out_option()
@click.option("--preset", metavar="NAME", help="A named set of the archive's options (mimic-cxr: paper, r2gen).")
@set_option("An option of the archive; `medim-bench data options NAME` lists them.")
@click.option("--workers", type=click.IntRange(min=0), default=os.cpu_count, help="Processes that read pictures.")
@click.option("--longest-side", type=click.IntRange(min=0), default=512, show_default=True, help="Pixels; 0 keeps every size.")
@click.option("--format", "form", type=click.Choice(["png", "jpeg"]), default="png", show_default=True, help="Of the pictures.")
@click.option(
    "--max-pixels", type=click.IntRange(min=1), metavar="N", help="Refuse larger pictures by their header; 8192 x 8192."
)
@limit_option("Only the first N pairs of the archive.")
@click.option("--dry-run", is_flag=True, help="Count pairs, estimate the disk space, write nothing.")
@overwrite_option()
def prepare(
    name: str, root: Path, out: Path, preset: str | None, overrides: dict[str, str], workers: int, longest_side: int,
    form: Literal["png", "jpeg"], max_pixels: int | None, limit: int | None, dry_run: bool, overwrite: bool,
) -> None:  # fmt: skip
    """Turns a downloaded archive into a folder that every other verb takes as --data.

    NAME: mimic-cxr, pathgen, openi, r2gen, folder, llava, hub, or an adapter of your own (entry point medim.archives).
    What cannot be made is listed in failures.jsonl (exit status 3); the same command again continues.
    """
    from medim.data.archives.archive import open_archive
    from medim.data.archives.picture import Storage
    from medim.data.archives.prepare import Preparation
    from medim.imaging.image_files import VARIABLE

    if max_pixels is not None:
        os.environ[VARIABLE] = str(max_pixels)  # the workers' too
    archive = open_archive(name, root, preset, overrides)
    preparation = Preparation(archive, out, Storage(longest_side, form), workers, limit)
    if dry_run:
        click.echo("\n".join(describe(preparation.dry_plan())))
        return
    with preparation.claimed(overwrite):
        if preparation.finished:
            click.echo(f"'{out}' is prepared already")
        else:
            plan = preparation.plan()
            click.echo("\n".join(describe(plan)))
            preparation.make(plan)
        prepared = preparation.prepared()
    click.echo(
        f"{sum(prepared.splits.values())} pairs in '{out}' ({', '.join(f'{n} {s}' for s, n in prepared.splits.items())})"
    )
    if prepared.failures:
        click.echo(f"{prepared.failures} lost: see {out / 'failures.jsonl'}; the first: {prepared.first}", err=True)
        sys.exit(WITH_FAILURES)


FEW = 8
"""Entries of a fact that are printed; longer ones stand in the manifest."""


def describe(plan: "Plan") -> Iterator[str]:
    """The plan in lines."""
    listing = plan.listing
    by_split = ", ".join(f"{count} {split}" for split, count in listing["splits"].items())
    yield f"{listing['pairs']} pairs ({by_split}) of {listing['studies']} studies, {listing['patients']} patients"
    yield from (f"  {line}" for line in listing["short"])
    yield from (f"  left out by the options: {count} x {reason}" for reason, count in listing["excluded"].items())
    if listing["losses"]:
        yield f"  lost: {listing['losses']} (failures.jsonl will name each)"
    yield from (f"  reports with {kind}: {count} (kept; the file's encoding?)" for kind, count in listing["damaged"].items())
    if listing["leaks"]:
        yield f"  patients or studies in two splits: {len(listing['leaks'])} (kept in the held-out one)"
    yield f"  terms: {'; '.join(listing['terms'])}"
    for key, value in listing["facts"].items():
        many = isinstance(value, list | dict) and len(value) > FEW
        yield f"  {key}: {f'{len(value)} (listed in manifest.json)' if many else value}"
    if plan.unread:
        yield f"  pictures tried: {plan.tried}; {len(plan.unread)} cannot be read, the first: {plan.unread[0]}"
    if plan.bytes_needed is not None:
        yield f"  disk: about {plan.bytes_needed / 1e9:.2f} GB, {plan.bytes_free / 1e9:.1f} GB free"


@data.command(name="options", short_help="The options of an archive.")
@click.argument("name")
def options_(name: str) -> None:
    """Lists what `data prepare NAME --set` and `--preset` take."""
    from medim.data.archives.archive import archive_class

    adapter = archive_class(name)
    for key, field in adapter.Options.model_fields.items():
        click.echo(f"{key} = {field.default!r}\n    {field.description}")
    for preset, values in adapter.presets.items():
        click.echo(f"--preset {preset}: {', '.join(f'{key}={value}' for key, value in values.items())}")


@data.command(short_help="Find what is wrong with a data set.")
@click.argument("name", metavar="DATA")
@click.option("--model", metavar="NAME|DIR|HUB-ID", help="Hold the reports against this model's tokenizer and length.")
@click.option("--tokenizer", metavar="DIR", type=click.Path(path_type=Path), help="Or against a report tokenizer.")
@click.option("--model-length", type=click.IntRange(min=2), metavar="N", help="Tokens (without a tokenizer: words) it holds.")
@click.option("--resolution", type=click.IntRange(min=1), metavar="N", help="Name the pictures that are smaller.")
@click.option(
    "--allow", multiple=True, type=NearestChoice("leakage to allow", ALLOWABLE), help="This leak is meant; repeatable."
)
@limit_option("Read only the first N pairs of each split (synthetic sets: 2000).")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that read; 0 reads in this one.")
@out_option(required=False, help="Folder for check.json and failures.jsonl; with it a stopped check continues.")
def check(
    name: str, model: str | None, tokenizer: Path | None, model_length: int | None, resolution: int | None,
    allow: tuple[str, ...], limit: int | None, workers: int | None, out: Path | None,
) -> None:  # fmt: skip
    """Reads every pair of a data set and reports unreadable pictures, empty, repeated and damaged reports, patients and copied
    images that cross splits, statistics of texts and pictures, reports that a model would cut, and terms.

    DATA is a registered data set or a folder with pairs.jsonl. Exit status 2: something leaks between splits and --allow
    does not name it; 3: some pairs cannot be read.
    """
    from benchmark.data.check import check_and_print

    sys.exit(check_and_print(name, model, tokenizer, model_length, resolution, allow, limit, workers, out))


@data.command(short_help="The ids that `score` wants predictions for.")
@click.argument("name", metavar="DATA")
@click.option("--split", default="test", show_default=True, help="Split to score on; all: every split in turn.")
@limit_option("Only the first N cases of each split, as of score.")
@click.option(
    "--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Write them there, as CSV where the name ends in .csv.  [default: print JSON lines]",
)  # fmt: skip
def ids(name: str, split: str, limit: int | None, out: Path | None) -> None:
    """Writes id, study, patient and split of each case that `score` asks for, in its order: the first pair of each study.

    They are the same for every task that asks case by case; samples for joint-generation and memorisation answer no case, and
    any ids will do. DATA is a registered data set or a folder with pairs.jsonl or reports.jsonl.
    """
    from benchmark.data.ids import as_csv, as_lines, wanted
    from medim.common.files import write_text

    rows = wanted(name, split, limit)
    text = as_csv(rows) if out is not None and out.suffix.lower() == ".csv" else as_lines(rows)
    if out is None:
        click.echo(text, nl=False)
        return
    write_text(out, text)
    click.echo(f"{len(rows)} ids: {out}")


@data.command(short_help="A picture of a data set's pairs.")
@click.argument("name", metavar="DATA")
@click.option(
    "--out", required=True, metavar="FILE.png", type=click.Path(dir_okay=False, path_type=Path), help="The picture; PNG."
)
@click.option("--split", default="test", show_default=True, help="Split to draw from; all: every split in turn.")
@click.option("--n", "number", default=12, show_default=True, type=click.IntRange(min=1, max=48), help="Number of pairs.")
@seed_option()
def show(name: str, out: Path, split: str, number: int, seed: int | None) -> None:
    """Draws pairs of a data set, chosen by the seed, with their ids, findings and whole reports: a contact sheet to look at.

    DATA is a registered data set or a folder with pairs.jsonl. The sheet repeats the data's terms; under data-use agreements
    it is for your own eyes.
    """
    from benchmark.data.show import show_pairs

    assert seed is not None
    lines, failures = show_pairs(name, out, split, number, seed)
    for line in lines:
        click.echo(line)
    for failure in failures:
        click.echo(failure, err=True)
    sys.exit(WITH_FAILURES if failures else DONE)
