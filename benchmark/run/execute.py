"""From a command's options to a run: opens model and data, runs, prints the table, says the exit status."""

from pathlib import Path
from typing import Any

import click

from benchmark.run.cache import FEATURES, cache_folder
from benchmark.run.generation import exit_status
from benchmark.run.options import RunOptions, ScoreOptions
from benchmark.run.runner import LEADERBOARD, RunResult, run
from benchmark.run.summary import summary
from benchmark.suites import Suite, load_suite
from benchmark.systems import HasResolution, model_terms, open_model
from medim.common.errors import UserError
from medim.common.files import file_name
from medim.data import loading
from medim.data.dataset import PairDataset
from medim.perception.space import DEFAULT
from tasks import task_named
from tasks.adapters.predictions import PredictionFolder
from tasks.cases import own_resolution
from tasks.protocols import Generator

REPLACED = ("model", "data", "tasks", "out", "split", "limit", "seed", "batch_size", "resolution", "protocol", "features")
"""What options of the command line replace in a suite."""


def execute_run(options: RunOptions) -> int:
    """Runs tasks, or a suite, prints the table and where the page is; returns the exit status.

    Several data sets go into folders of their own within `out`, with one page over all in `out/leaderboard`.

    Raises:
        UserError: something is missing, or as `runner.run`.
    """
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

    Raises:
        UserError: neither says which model or data.
    """
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
    cache = cache_folder(options.cache, dataset)
    system = open_model(suite.model, options.device, suite.set, dataset, None if cache is None else cache / FEATURES)
    result = run(
        system, dataset, suite.tasks, out, resolution=_resolution(suite, system, dataset), split=suite.split,
        limit=suite.limit, seed=suite.seed, batch_size=suite.batch_size, device=options.device, overwrite=options.overwrite,
        show_samples=options.show_samples, protocol=suite.protocol, features=suite.features, cache=cache, judge=options.judge,
        learned=model_terms(suite.model),
    )  # fmt: skip
    return _told(result, dataset, out)


def execute_score(options: ScoreOptions) -> int:
    """Scores a folder of predictions as `execute_run` scores a model; returns the exit status.

    Raises:
        UserError: something is missing, or as `runner.run`.
    """
    if options.model is not None:
        raise UserError("score takes --predictions; --model is for score grounding")
    for what, key in (("a TASK", "tasks"), ("--predictions", "predictions"), ("--data", "data"), ("--out", "out")):
        if not getattr(options, key):
            raise UserError(f"score needs {what}")
    assert options.predictions is not None
    assert options.data is not None
    assert options.out is not None
    system = PredictionFolder(options.predictions, options.name)
    dataset = loading.load_dataset(options.data)
    result = run(
        system, dataset, options.tasks, options.out,
        resolution=own_resolution(dataset, options.split) if options.resolution is None else options.resolution,
        split=options.split, limit=options.limit, seed=options.seed, device=options.device, overwrite=options.overwrite,
        show_samples=options.show_samples, protocol=options.protocol, features=options.features or (DEFAULT,),
        cache=cache_folder(options.cache, dataset), judge=options.judge,
    )  # fmt: skip
    return _told(result, dataset, options.out)


def _resolution(suite: Suite, system: Generator, dataset: PairDataset) -> int | None:
    """As given; else the system's own, where it has one; else the data set's."""
    if suite.resolution is not None:
        return suite.resolution
    if isinstance(system, HasResolution) and system.resolution is not None:
        return system.resolution
    return own_resolution(dataset, suite.split)


def _told(result: RunResult, dataset: PairDataset, out: Path) -> int:
    """Prints what a run found; returns the exit status."""
    headlines = {name: task_named(name).headline_metrics for name in {record.task for record in result.records}}
    click.echo(f"\n{summary(result.records, headlines)}\n")
    if dataset.synthetic:
        click.echo(f"{dataset.name} is synthetic: these numbers prove the software, not a model's clinical worth.")
    click.echo(f"page: {result.page}")
    return exit_status(out, len(result.failures))
