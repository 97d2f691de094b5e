"""From a command's options to a run: opens model and data, runs, prints the table, says the exit status."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.generation import FAILURES
from benchmark.runner import run
from benchmark.sampling import SHEET, sample, slots_of
from benchmark.status import DONE, WITH_FAILURES
from benchmark.suites import load_suite
from benchmark.summary import summary
from medim.data import dataset as datasets
from medim.errors import UserError

if TYPE_CHECKING:
    from medim.pipeline import MeDiMPipeline

SAMPLING = "sampling."


def open_model(name: str, device: str | None, overrides: Mapping[str, str]) -> "MeDiMPipeline":
    """The pipeline of a preset, folder or hub id, with `sampling.*` overrides applied.

    Raises:
        UserError: unknown model or setting, missing or damaged weights.
    """
    for key in overrides:
        if not key.startswith(SAMPLING):
            raise UserError(f"--set {key}: a trained model takes only sampler settings, such as {SAMPLING}image.steps=32")
    from medim.pipeline import MeDiMPipeline

    pipeline = MeDiMPipeline.from_pretrained(name, device=device)
    if overrides:
        pipeline.configure({key.removeprefix(SAMPLING): value for key, value in overrides.items()})
    return pipeline


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
    **options: Any,
) -> int:
    """Runs tasks, prints the table and where the page is; returns the exit status. `options` are those of `runner.run`."""
    dataset = datasets.load_dataset(data)
    pipeline = open_model(model, device, overrides)
    result = run(
        pipeline, dataset, tasks, out, resolution=pipeline.resolution, device=device, overwrite=overwrite,
        show_samples=show_samples, **options,
    )  # fmt: skip
    click.echo(f"\n{summary(result.records)}\n")
    if dataset.synthetic:
        click.echo(f"{dataset.name} is synthetic: these numbers prove the software, not a model's clinical worth.")
    click.echo(f"page: {result.page}")
    return _status(out, len(result.failures))


def execute_suite(
    name: str,
    *,
    device: str | None,
    overwrite: bool,
    overrides: Mapping[str, str] | None = None,
    show_samples: bool = False,
    **given: Any,
) -> int:
    """Runs a suite; `given` options of the command line come before the suite's own."""
    suite = load_suite(name)
    options = {**suite.model_dump(exclude={"title", "set"}), **given}
    return execute_run(
        options.pop("tasks"), options.pop("model"), options.pop("data"), Path(options.pop("out")),
        overrides={**suite.set, **(overrides or {})}, device=device, overwrite=overwrite, show_samples=show_samples, **options,
    )  # fmt: skip


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
    """Draws samples and says where they are; returns the exit status."""
    dataset = None if data is None else datasets.load_dataset(data)
    pipeline = open_model(model, device, overrides)
    slots = slots_of(n, prompt, dataset, split, pipeline.resolution)
    inputs: dict[str, Any] = {"prompt": prompt}
    if dataset is not None:
        inputs |= {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": split}
    failures = sample(kind, pipeline, slots, out, inputs=inputs, seed=seed, batch_size=batch_size, overwrite=overwrite)
    drawn = len(slots) - len(failures)
    click.echo(f"{drawn} {kind}{'' if drawn == 1 else 's'}\ncontact sheet: {out / SHEET}")
    return _status(out, len(failures))


def _status(out: Path, failures: int) -> int:
    if not failures:
        return DONE
    click.echo(f"{failures} {'sample' if failures == 1 else 'samples'} failed: {out / FAILURES}", err=True)
    return WITH_FAILURES
