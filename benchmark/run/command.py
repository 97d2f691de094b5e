"""From a command's options to a run: opens model and data, runs, prints the table, says the exit status."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmark.run.cache import FEATURES, cache_folder
from benchmark.run.checkers import refuse_steerer, settings_of_samples
from benchmark.run.generation import exit_status
from benchmark.run.options import RunOptions, ScoreOptions
from benchmark.run.runner import LEADERBOARD, run
from benchmark.run.suites import Suite, load_suite
from benchmark.systems import HasResolution, as_shown_to, best_device, model_terms, open_model
from leaderboard.record import Record
from medim.common.errors import UserError
from medim.common.files import file_name
from medim.data import loading
from medim.data.dataset import PairDataset
from medim.perception.space import DEFAULT
from tasks import task_named
from tasks.adapters.checkers.attach import attach_checkers
from tasks.adapters.predictions import PredictionFolder
from tasks.cases import own_resolution
from tasks.protocols import Answered, Generator
from tasks.scoring.reference import read_reference

MOST = 6  # columns of a printed table where a task names none
REPLACED = ("model", "data", "tasks", "out", "split", "limit", "seed", "batch_size", "resolution", "protocol", "features")
"""What options of the command line replace in a suite."""


def execute_run(options: RunOptions) -> int:
    """Runs tasks, or a suite, prints the table and where the page is; returns the exit status.
    Several data sets go into folders of their own within `out`, with one page over all in `out/leaderboard`.
    Raises UserError: something is missing, or as `runner.run`."""
    suite = suite_of(options)
    out, sets = suite.out, suite.data_sets
    folders = [out] if len(sets) == 1 else [out / file_name(Path(one).name) for one in sets]
    if len(set(folders)) < len(folders):
        raise UserError(f"the data sets {', '.join(sets)} need different names: their results go into folders of these names")
    status = max(_run(suite, options, name, folder) for name, folder in zip(sets, folders, strict=True))
    if len(folders) > 1:
        from leaderboard.build import build  # lazy: start-up

        build(folders, out / LEADERBOARD)
        click.echo(f"page of all: {out / LEADERBOARD / 'index.html'}")
    return status


def suite_of(options: RunOptions) -> Suite:
    """The suite that is named, with what else is given in place of its values; without one, what is given and defaults.
    Raises UserError: neither says which model or data."""
    given: dict[str, Any] = {key: value for key in REPLACED if (value := getattr(options, key)) not in (None, ())}
    if options.suite is not None:
        suite = load_suite(options.suite)
        suite = suite.model_copy(update={**given, "set": {**suite.set, **options.overrides}})
        if not suite.data_sets or suite.model is None:
            needed = " and ".join(what for what, there in (("--model M", suite.model), ("--data D", suite.data)) if not there)
            raise UserError(f"suite '{options.suite}' leaves it to you: give {needed}{suite.hint}")
        return suite
    if len(options.data) > 1:
        raise UserError("run takes one --data; several are for a --suite, and A+B is a mixture of two as one set")
    for what, key in (("a TASK (or --suite NAME)", "tasks"), ("--model", "model"), ("--data", "data"), ("--out", "out")):
        if key not in given:
            raise UserError(f"run needs {what}")
    return Suite(title="", set=options.overrides, **given)


def _run(suite: Suite, options: RunOptions, data: str, out: Path) -> int:
    """One data set of the suite."""
    assert suite.model is not None
    dataset = loading.load_dataset(data)
    refuse_table(options.checkers)
    attach_checkers(dataset, options.checkers, options.checker_labels, best_device(options.device))
    cache = cache_folder(options.cache, dataset)
    system = open_model(suite.model, options.device, suite.set, dataset, None if cache is None else cache / FEATURES)
    dataset = as_shown_to(system, dataset)
    more: dict[str, Any] = {"batch_size": suite.batch_size, "learned": model_terms(suite.model)}
    return _done(system, dataset, out, suite, options, cache, _resolution(suite, system, dataset), **more)


def refuse_table(checkers: Sequence[str]) -> None:
    """Raises UserError for a table of predictions: it cannot hold the images that a run is yet to draw."""
    if any(spec.partition("=")[2].startswith("predictions:") for spec in checkers):
        raise UserError(
            "run draws images that are in no table yet: run without --checker image=predictions:CSV, classify the images of "
            "OUT/samples, then `score TASK --predictions OUT/samples/TASK/MODEL --checker image=predictions:CSV`"
        )


def execute_score(options: ScoreOptions) -> int:
    """Scores a folder of predictions as `execute_run` scores a model; returns the exit status.
    Raises UserError: something is missing, or as `runner.run`."""
    if options.model is not None:
        raise UserError("score takes --predictions; --model is for score grounding")
    for what, key in (("a TASK", "tasks"), ("--predictions", "predictions"), ("--data", "data"), ("--out", "out")):
        if not getattr(options, key):
            raise UserError(f"score needs {what}")
    assert options.predictions is not None
    assert options.data is not None
    assert options.out is not None
    system = PredictionFolder(options.predictions, options.name, options.map, options.ids)
    dataset = loading.load_dataset(options.data)
    attach_checkers(dataset, options.checkers, options.checker_labels, best_device(options.device))
    refuse_steerer(dataset, settings_of_samples(system.root))
    reference = None if options.reference is None else read_reference(options.reference)
    resolution = own_resolution(dataset, options.split) if options.resolution is None else options.resolution
    if reference is not None:
        if problem := reference.unlike(dataset, options.split, resolution):
            raise UserError(f"--reference {options.reference} is {problem}")
        resolution = reference.about["resolution"]
    cache = cache_folder(options.cache, dataset)
    return _done(system, dataset, options.out, options, options, cache, resolution, reference=reference)


def _resolution(suite: Suite, system: Generator, dataset: PairDataset) -> int | None:
    """As given; else the system's own, where it has one; else the data set's."""
    if suite.resolution is not None:
        return suite.resolution
    if isinstance(system, HasResolution) and system.resolution is not None:
        return system.resolution
    return own_resolution(dataset, suite.split)


def _done(
    system: Generator | Answered,
    dataset: PairDataset,
    out: Path,
    chosen: Suite | ScoreOptions,
    options: RunOptions | ScoreOptions,
    cache: Path | None,
    resolution: int | None,
    **more: Any,
) -> int:
    """Runs what is chosen, prints what was found; returns the exit status."""
    result = run(
        system,
        dataset,
        chosen.tasks,
        out,
        resolution=resolution,
        split=chosen.split,
        limit=chosen.limit,
        seed=chosen.seed,
        protocol=chosen.protocol,
        features=chosen.features or (DEFAULT,),
        device=options.device,
        overwrite=options.overwrite,
        show_samples=options.show_samples,
        judge=options.judge,
        cache=cache,
        **more,
    )
    headlines = {name: task_named(name).headline_metrics for name in {record.task for record in result.records}}
    click.echo(f"\n{summary(result.records, headlines)}\n")
    if dataset.synthetic:
        click.echo(f"{dataset.name} is synthetic: these numbers prove the software, not a model's clinical worth.")
    click.echo(f"page: {result.page}")
    return exit_status(out, len(result.failures))


def summary(records: Sequence[Record], headlines: Mapping[str, Sequence[str]]) -> str:
    """Returns one plain-text table per task: rows are systems, the model first.
    `headlines`: the columns by task; of a task without any, the first that there are."""
    tasks = dict.fromkeys(record.task for record in records)
    return "\n\n".join(_table(task, [r for r in records if r.task == task], headlines.get(task, ())) for task in tasks)


def _table(task: str, records: Sequence[Record], headline: Sequence[str]) -> str:
    present = list(dict.fromkeys(record.metric for record in records))
    named = [_named(name, present) for name in headline]
    metrics = [metric for metric in named if metric is not None] or present[:MOST]
    systems = list(dict.fromkeys((record.model, record.kind) for record in records))
    cells = {(record.model, record.metric): _cell(record) for record in records}
    rows = [[task, *(f"{metric}{_arrow(metric, records)}" for metric in metrics)]]
    for name, kind in systems:
        label = name if kind == "measured" else f"  {name} ({kind})"
        rows.append([label, *(cells.get((name, metric), "") for metric in metrics)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * len(max(lines, key=len)))
    notes = dict.fromkeys(
        f"{r.metric}: {r.reason}" for r in records if r.kind == "measured" and r.value is None and r.metric in metrics
    )
    return "\n".join([*lines, *(f"  - {note}" for note in notes)])


def _named(name: str, present: Sequence[str]) -> str | None:
    """The metric of this name, or of this name with its protocol behind it; None where there is neither."""
    return name if name in present else next((metric for metric in present if metric.startswith(f"{name} (")), None)


def _arrow(metric: str, records: Sequence[Record]) -> str:
    better = next(record.higher_is_better for record in records if record.metric == metric)
    return "" if better is None else " ↑" if better else " ↓"


def _cell(record: Record) -> str:
    return "-" if record.value is None else f"{record.value:.4g}"
