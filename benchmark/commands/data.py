"""`medim-bench data`: prepare, check and show a data set."""

import json
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click

from benchmark import DONE, STOPPED, WITH_FAILURES
from benchmark.cli import NearestGroup
from benchmark.options import FILE, FOLDER, NearestChoice, Option, Out, Overwrite, Seed, setting, with_options
from benchmark.run.options import ReferenceOptions
from medim.common.errors import UserError, unknown
from medim.data.checks.report import ALLOWABLE

if TYPE_CHECKING:
    from medim.data.archives.preparation.prepare import Plan
    from medim.tokenizers.report import ReportTokenizer

ALL = "all"
CHECK, READ, FAILURES = "check.json", ".check.read", "failures.jsonl"
FEW = 8
"""Entries of a fact that are printed; longer ones stand in the manifest."""
WORTH_WORKERS = 2000
"""Pairs; starting a worker takes seconds."""
_number = partial(Option, metavar="N", low=1)
_LEAKS = NearestChoice("leakage to allow", ALLOWABLE)
_PRESET = "A named set of the archive's options (mimic-cxr: paper, r2gen)."
_MODEL = "Hold the reports against this model's tokenizer and length."
_CHECKED = "Folder for check.json and failures.jsonl; with it a stopped check continues."
_TO_FILE = "Write them there, as CSV where the name ends in .csv.  [default: print JSON lines]"


@click.group(cls=NearestGroup, short_help="Prepare, check and show a data set.")
def data() -> None:
    """Prepares, checks and shows a data set."""


@data.command(short_help="Turn a downloaded archive into a folder with pairs.jsonl.")
@click.argument("name")
@with_options
def prepare(
    name: str,
    root: Annotated[Path, Option("Where the archive lies.", metavar="DIR")],
    out: Out,
    preset: Annotated[str | None, Option(_PRESET, metavar="NAME")] = None,
    overrides: Annotated[dict[str, str], setting("An option of the archive; `medim-bench data options NAME` lists them.")] = {},  # noqa: B006  # read alone
    workers: Annotated[int, Option("Processes that read pictures.  [default: one for each core]", low=0)] = os.cpu_count() or 1,
    longest_side: Annotated[int, Option("Pixels; 0 keeps every size.", low=0)] = 512,
    form: Annotated[Literal["png", "jpeg"], Option("Of the pictures.", "--format", kind="format")] = "png",
    max_pixels: Annotated[int | None, _number("Refuse larger pictures by their header; 8192 x 8192.")] = None,
    limit: Annotated[int | None, _number("Only the first N pairs of the archive.")] = None,
    dry_run: Annotated[bool, Option("Count pairs, estimate the disk space, write nothing.")] = False,
    overwrite: Overwrite = False,
) -> int:
    """Turns a downloaded archive into a folder that every other verb takes as --data.

    NAME: mimic-cxr, pathgen, openi, r2gen, folder, llava, hub, or an adapter of your own (entry point medim.archives).
    What cannot be made is listed in failures.jsonl (exit status 3); the same command again continues.
    """
    from medim.data.archives.archive import open_archive
    from medim.data.archives.preparation.pictures import Storage
    from medim.data.archives.preparation.prepare import Preparation
    from medim.imaging.image_files import VARIABLE

    if max_pixels is not None:
        os.environ[VARIABLE] = str(max_pixels)  # the workers' too
    archive = open_archive(name, root, preset, overrides)
    preparation = Preparation(archive, out, Storage(longest_side, form), workers, limit)
    if dry_run:
        click.echo("\n".join(describe(preparation.dry_plan())))
        return DONE
    with preparation.claimed(overwrite):
        if preparation.finished:
            click.echo(f"'{out}' is prepared already")
        else:
            plan = preparation.plan()
            click.echo("\n".join(describe(plan)))
            preparation.make(plan)
        prepared = preparation.prepared()
    by_split = ", ".join(f"{count} {split}" for split, count in prepared.splits.items())
    click.echo(f"{sum(prepared.splits.values())} pairs in '{out}' ({by_split})")
    if prepared.failures:
        click.echo(f"{prepared.failures} lost: see {out / 'failures.jsonl'}; the first: {prepared.first}", err=True)
        return WITH_FAILURES
    return DONE


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
@with_options
def check(
    name: str,
    model: Annotated[str | None, Option(_MODEL, metavar="NAME|DIR|HUB-ID")] = None,
    tokenizer: Annotated[Path | None, Option("Or against a report tokenizer.", metavar="DIR")] = None,
    model_length: Annotated[int | None, _number("Tokens (without a tokenizer: words) it holds.", low=2)] = None,
    resolution: Annotated[int | None, _number("Name the pictures that are smaller.")] = None,
    limit: Annotated[int | None, _number("Read only the first N pairs of each split (synthetic sets: 2000).")] = None,
    allow: Annotated[tuple[str, ...], Option("This leak is meant; repeatable.", type=_LEAKS)] = (),
    workers: Annotated[int | None, Option("Processes that read; 0 reads in this one.", low=0)] = None,
    out: Annotated[Path | None, Option(_CHECKED, metavar="DIR", type=FOLDER)] = None,
) -> int:
    """Reads every pair of a data set and reports unreadable pictures, empty, repeated and damaged reports, patients and copied
    images that cross splits, statistics of texts and pictures, reports that a model would cut, and terms.

    DATA is a registered data set or a folder with pairs.jsonl. Exit status 2: something leaks between splits and --allow
    does not name it; 3: some pairs cannot be read.
    """
    from medim.common.files import write_json, write_text
    from medim.data.checks.check import PartStore, check_dataset, open_for_check
    from medim.pair import SPLITS

    measure, lengths = _measure(model, tokenizer, model_length)
    dataset = open_for_check(name)
    if workers is None:
        size = sum(min(dataset.size(split), limit or dataset.size(split)) for split in SPLITS)
        workers = (os.cpu_count() or 1) if size >= WORTH_WORKERS else 0
    store = None if out is None else PartStore(out / READ, dataset, measure)
    how = partial(check_dataset, limit=limit, tokenizer=measure, lengths=lengths, resolution=resolution, workers=workers)
    report = how(dataset, store=store, progress=True)
    click.echo("\n".join(report.lines(allow)))
    if out is not None and store is not None:
        write_json(out / CHECK, report.to_json(allow))
        (out / FAILURES).unlink(missing_ok=True)
        if report.failures:
            write_text(out / FAILURES, _lines({"item": item, "reason": reason} for item, reason in report.failures))
        store.clear()
    if leaks := report.leaks(allow):
        kinds = ", ".join(leak.kind for leak in leaks)
        click.echo(f"{name}: {kinds}: scores on this set cannot be trusted; mend the splits, or name what is meant", err=True)
        return STOPPED
    if report.failures:
        where = f": {out / FAILURES}" if out is not None else "; --out DIR lists them"
        click.echo(f"{len(report.failures)} {'pair' if len(report.failures) == 1 else 'pairs'} cannot be read{where}", err=True)
        return WITH_FAILURES
    return DONE


def _lines(rows: Iterable[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _measure(
    model: str | None, tokenizer: Path | None, model_length: int | None
) -> tuple["ReportTokenizer | None", tuple[int, ...]]:
    """What reports are measured with, and the lengths that they are held against."""
    from medim.data.checks.check import LENGTHS

    lengths = (model_length,) if model_length else LENGTHS
    if model is None and tokenizer is None:
        return None, lengths
    from medim.checkpoints import resolve
    from medim.model_folder import read_config
    from medim.tokenizers.report import ReportTokenizer  # transformers: seconds that most checks need not wait for

    if model is not None and tokenizer is not None:
        raise UserError("give --model or --tokenizer, not both: a model has its own tokenizer")
    if tokenizer is not None and not tokenizer.is_dir():
        raise UserError(f"--tokenizer: folder '{tokenizer}' does not exist")
    if tokenizer is None:
        folder = resolve(str(model))
        if not (tokenizer := folder / "report_tokenizer").is_dir():
            raise UserError(f"model '{model}' has no folder report_tokenizer/")
        lengths = (model_length or read_config(folder).report_length,)
    return ReportTokenizer.from_pretrained(tokenizer, max(lengths)), lengths


@data.command(short_help="The ids that `score` wants predictions for.")
@click.argument("name", metavar="DATA")
@with_options
def ids(
    name: str,
    split: Annotated[str, Option("Split to score on; all: every split in turn.")] = "test",
    limit: Annotated[int | None, _number("Only the first N cases of each split, as of score.")] = None,
    out: Annotated[Path | None, Option(_TO_FILE, metavar="FILE", type=FILE)] = None,
) -> None:
    """Writes id, study, patient and split of each case that `score` needs, in its order: the first pair of each study.

    They are the same for every task that scores case by case; samples for joint-generation and memorisation answer no case, and
    any ids will do. DATA is a registered data set or a folder with pairs.jsonl or reports.jsonl.
    """
    from medim.common.csv_text import csv_text, is_formula
    from medim.common.files import write_text
    from medim.data.loading import load_dataset
    from medim.pair import SPLITS
    from tasks.cases import SplitIds

    if split not in (*SPLITS, ALL):
        raise unknown("split", split, (*SPLITS, ALL))
    dataset = load_dataset(name)
    rows = []
    for one in [part for part in SPLITS if dataset.size(part)] if split == ALL else [split]:
        known = SplitIds(dataset, one, ())
        cases = [keys for keys in known.values() if keys.id in known.stand_for_studies][:limit]
        rows += [{"id": keys.id, "study": keys.study, "patient": keys.patient, "split": one} for keys in cases]
    if not rows:
        raise UserError(f"data set '{name}' holds no pairs")
    if out is None:
        click.echo(_lines(rows), nl=False)
        return
    table = out.suffix.lower() == ".csv"
    if table and (odd := next((text for row in rows for text in row.values() if is_formula(text.lstrip("'"))), None)):
        raise UserError(f"a spreadsheet would run '{odd}' as a formula: write a file of another name than .csv, of JSON lines")
    write_text(out, csv_text(list(rows[0]), rows) if table else _lines(rows))
    click.echo(f"{len(rows)} ids: {out}")


@data.command(short_help="Statistics of a data set, for a site without its images.")
@click.argument("name", metavar="DATA")
@with_options
def reference(name: str, options: ReferenceOptions) -> int:
    """Writes moments of the images' features and in how many reports each n-gram stands: a file for `score --reference`.

    No image and no report is written, nor an n-gram that stands in one report alone. The terms of DATA hold for the file.
    """
    from benchmark.run.reference import execute_reference

    return execute_reference(name, options)


@data.command(short_help="A picture of a data set's pairs.")
@click.argument("name", metavar="DATA")
@with_options
def show(
    name: str,
    out: Annotated[Path, Option("The picture; PNG.", metavar="FILE.png", type=FILE)],
    split: Annotated[str, Option("Split to draw from; all: every split in turn.")] = "test",
    n: Annotated[int, Option("Number of pairs.", low=1, high=48)] = 12,
    seed: Seed = 0,
) -> int:
    """Draws pairs of a data set, chosen by the seed, with their ids, findings and whole reports: a contact sheet to look at.

    DATA is a registered data set or a folder with pairs.jsonl. The sheet repeats the data's terms; under data-use agreements
    it is for your own eyes.
    """
    import numpy as np

    from benchmark.sampling.sheets import pair_card, write_pair_sheet
    from benchmark.systems import withheld
    from medim.data.checks.check import open_for_check
    from medim.pair import SPLITS

    dataset = open_for_check(name)
    places = [(part, index) for part in (SPLITS if split == ALL else (split,)) for index in range(dataset.size(part))]
    if not places:
        raise UserError(f"'{name}' has no pairs in split '{split}'")
    rows = np.random.default_rng(seed).choice(len(places), size=min(n, len(places)), replace=False)
    chosen = [places[row] for row in sorted(rows.tolist())]
    failures: list[str] = []
    cards = [pair_card(dataset, part, index, failures) for part, index in chosen]
    drawn = f"{len(cards)} of {len(places)} pairs" + ("" if split == ALL else f" of split '{split}'") + f", seed {seed}"
    write_pair_sheet(out, [dataset.name, drawn, f"terms: {dataset.terms}"], cards)
    click.echo(f"{drawn}: {out}\nterms: {dataset.terms}")
    if withheld(dataset.terms):
        click.echo("these terms do not allow the sheet to be passed on")
    for failure in failures:
        click.echo(failure, err=True)
    return WITH_FAILURES if failures else DONE
