"""From a command's options to a run: opens model and data, runs, prints the table, says the exit status."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.run.cache import FEATURES, default_folder
from benchmark.run.generation import FAILURES
from benchmark.run.predictions import file_name
from benchmark.run.runner import LEADERBOARD, RunResult, run
from benchmark.run.summary import summary
from benchmark.sampling.samples import SHEET, sample, slots_of
from benchmark.suites import load_suite
from benchmark.systems import model_terms, open_model, open_pipeline, withheld
from medim.common.errors import UserError
from medim.data import loading
from medim.data.dataset import PairDataset
from tasks.adapters.predictions import PredictionFolder
from tasks.cases import own_resolution
from tasks.protocols import Generator

NO_CACHE = "none"


def execute_run(
    tasks: Sequence[str],
    model: str,
    data: str,
    out: Path,
    *,
    overrides: Mapping[str, str],
    device: str | None,
    overwrite: bool,
    show_samples: bool = False,
    resolution: int | None = None,
    cache: str | None = None,
    **options: Any,
) -> int:
    """Runs tasks, prints the table and where the page is; returns the exit status. `options` are those of `runner.run`."""
    dataset = loading.load_dataset(data)
    folder = cache_folder(cache, dataset)
    system = open_model(model, device, overrides, dataset, None if folder is None else folder / FEATURES)
    result = run(
        system, dataset, tasks, out, resolution=_resolution(resolution, system, dataset, options.get("split", "test")),
        device=device, overwrite=overwrite, show_samples=show_samples, cache=folder, learned=model_terms(model), **options,
    )  # fmt: skip
    return _told(result, dataset, out)


def execute_score(
    tasks: Sequence[str],
    predictions: Path,
    data: str,
    out: Path,
    *,
    name: str | None,
    device: str | None,
    overwrite: bool,
    show_samples: bool = False,
    resolution: int | None = None,
    cache: str | None = None,
    **options: Any,
) -> int:
    """Scores a folder of predictions as `execute_run` scores a model; returns the exit status."""
    system = PredictionFolder(predictions, name)
    dataset = loading.load_dataset(data)
    split = options.get("split", "test")
    side = own_resolution(dataset, split) if resolution is None else resolution
    result = run(
        system, dataset, tasks, out, resolution=side, device=device, overwrite=overwrite, show_samples=show_samples,
        cache=cache_folder(cache, dataset), **options,
    )  # fmt: skip
    return _told(result, dataset, out)


def execute_suite(
    name: str,
    *,
    device: str | None,
    overwrite: bool,
    data: Sequence[str] = (),
    overrides: Mapping[str, str] | None = None,
    show_samples: bool = False,
    cache: str | None = None,
    **given: Any,
) -> int:
    """Runs a suite, on each of its data sets; `given` options of the command line come before the suite's own.

    Several data sets go into folders of their own within `out`, with one page over all in `out/leaderboard`.
    """
    suite = load_suite(name)
    options = {**suite.model_dump(exclude={"title", "set", "data", "needs"}), **given}
    sets = list(data) or suite.data_sets
    if not sets or options["model"] is None:
        missing = " and ".join(option for option, there in (("--model M", options["model"]), ("--data D", sets)) if not there)
        raise UserError(f"suite '{name}' leaves it to you: give {missing}{suite.hint}")
    tasks, model, out = options.pop("tasks"), options.pop("model"), Path(options.pop("out"))
    folders = [out] if len(sets) == 1 else [out / file_name(Path(one).name) for one in sets]
    if len(set(folders)) < len(folders):
        raise UserError(f"the data sets {', '.join(sets)} need different names: their results go into folders of these names")
    status = DONE
    for one, folder in zip(sets, folders, strict=True):
        status = max(status, execute_run(
            tasks, model, one, folder, overrides={**suite.set, **(overrides or {})}, device=device, overwrite=overwrite,
            show_samples=show_samples, cache=cache, **options,
        ))  # fmt: skip
    if len(folders) > 1:
        from leaderboard.build import build

        build(folders, out / LEADERBOARD)
        click.echo(f"page of all: {out / LEADERBOARD / 'index.html'}")
    return status


def cache_folder(given: str | None, dataset: PairDataset) -> Path | None:
    """The folder that runs share: as given, else the user's own; None for `none`.

    Of data under restricting terms nothing is kept outside --out unless a folder is named.
    """
    if given == NO_CACHE:
        return None
    if given is not None:
        return Path(given)
    return None if withheld(dataset.terms) else default_folder()


def _resolution(given: int | None, system: Generator, dataset: PairDataset, split: str) -> int | None:
    """As given; else the system's own, where it has one; else the data set's."""
    if given is not None:
        return given
    if isinstance(system, HasResolution) and system.resolution is not None:
        return system.resolution
    return own_resolution(dataset, split)


@runtime_checkable
class HasResolution(Protocol):
    """A system that is shown, or draws, images of one size."""

    @property
    def resolution(self) -> int | None: ...


def _told(result: RunResult, dataset: PairDataset, out: Path) -> int:
    """Prints what a run found; returns the exit status."""
    click.echo(f"\n{summary(result.records)}\n")
    if dataset.synthetic:
        click.echo(f"{dataset.name} is synthetic: these numbers prove the software, not a model's clinical worth.")
    click.echo(f"page: {result.page}")
    return _status(out, len(result.failures))


def execute_sample(
    kind: str,
    model: str,
    out: Path,
    *,
    n: int,
    prompt: str | None,
    data: str | None,
    split: str,
    seed: int,
    batch_size: int,
    device: str | None,
    overrides: Mapping[str, str],
    overwrite: bool,
) -> int:
    """Draws samples and says where they are; returns the exit status. Of `data`, pairs take the checkers that steer alone."""
    dataset = None if data is None else loading.load_dataset(data)
    pipeline = open_pipeline(model, device, overrides, dataset)
    if kind == "pair" and dataset is not None:
        if not pipeline.steered:
            raise UserError("sample pair draws from nothing: --data serves it for sampling.steering.* alone")
        slots = slots_of(n, prompt, None, split, pipeline.resolution)
    else:
        slots = slots_of(n, prompt, dataset, split, pipeline.resolution)
    inputs: dict[str, Any] = {"prompt": prompt}
    if dataset is not None:
        inputs |= {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": split}
    failures = sample(kind, pipeline, slots, out, inputs=inputs, seed=seed, batch_size=batch_size, overwrite=overwrite)
    drawn = len(slots) - len(failures)
    click.echo(f"{drawn} {kind}{'' if drawn == 1 else 's'}\ncontact sheet: {out / SHEET}")
    return _status(out, len(failures))


def execute_edit(
    model: str,
    out: Path,
    *,
    image: Path | None,
    report: str | None,
    data: str | None,
    split: str,
    n: int | None,
    new_report: str | None,
    finding: str | None,
    present: bool,
    box: tuple[int, int, int, int] | None,
    mask: Path | None,
    seed: int,
    batch_size: int,
    device: str | None,
    overrides: Mapping[str, str],
    overwrite: bool,
) -> int:
    """Edits an image file, or pairs of a data set, and says where the edits are; returns the exit status."""
    from benchmark.sampling.editing import Wanted, data_slots, edit_samples, file_slots
    from tasks.editing.reports import Rewriter

    wanted = Wanted(new_report, finding, present, box, mask)
    dataset = None if data is None else loading.load_dataset(data)
    pipeline = open_pipeline(model, device, overrides, dataset)
    rewriter = None if dataset is None or finding is None else Rewriter(dataset)
    inputs: dict[str, Any] = {}
    if dataset is not None:
        inputs = {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": split}
    if image is not None:
        slots = file_slots(image, report or "", n or 1, wanted, rewriter)
    else:
        assert dataset is not None
        slots = data_slots(dataset, split, n or 16, pipeline.resolution, wanted, rewriter)
    failures = edit_samples(pipeline, slots, wanted, out, inputs=inputs, seed=seed, batch_size=batch_size, overwrite=overwrite)
    done = len(slots) - len(failures)
    click.echo(f"{done} edit{'' if done == 1 else 's'}\ncontact sheet: {out / SHEET}")
    return _status(out, len(failures))


def execute_grounding(
    folder: Path, out: Path, predictions: Path | None, model: str | None, device: str | None, overwrite: bool
) -> int:
    """Grades a grounding test, prints the shares; returns the exit status."""
    from benchmark.export.grounding import RESULT, take

    system = None if model is None else open_pipeline(model, device, {})
    told = take(folder, out, predictions=predictions, model=system, overwrite=overwrite)
    ends = "" if told["ci_low"] is None else f" [{told['ci_low']:.3f}, {told['ci_high']:.3f}]"
    click.echo(f"right: {told['accuracy']:.3f}{ends} of {told['questions']} questions (chance 0.5)")
    click.echo(f"both of a couple right: {told['both right']:.3f} of {told['couples']} (chance 0.25)\n{out / RESULT}")
    return DONE


def _status(out: Path, failures: int) -> int:
    if not failures:
        return DONE
    click.echo(f"{failures} {'sample' if failures == 1 else 'samples'} failed: {out / FAILURES}", err=True)
    return WITH_FAILURES
