"""`medim-bench run`: tasks, from generating to the built page."""

from pathlib import Path
from typing import Any

import click

from benchmark.options import (
    data_option,
    device_option,
    limit_option,
    model_option,
    out_option,
    overwrite_option,
    seed_option,
    set_option,
)
from benchmark.status import not_built
from medim.errors import UserError, unknown

BUILT = ("image-generation", "report-generation", "joint-generation")
PLANNED = {
    "augmentation": "it will train a downstream model with and without generated pairs",
    "likelihood": "it will bound the log-likelihood of the test pairs",
    "memorisation": "it will compare samples with their nearest training pairs",
    "fine-detail": "it will score small and lateralised findings one by one",
    "long-form": "it will score long reports by section",
}
TASKS = (*BUILT, *PLANNED, "all")


@click.command(short_help="Generate, score and rank a model on tasks.")
@click.argument("tasks", nargs=-1, metavar="TASK...")
@click.option("--suite", metavar="NAME", help="A run as data, such as demo; options given here come before its own.")
@model_option(required=False)
@data_option(required=False)
@out_option(required=False)
@click.option("--split", default=None, help="Split to score on.  [default: test]")
@limit_option()
@seed_option(default=None)
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples drawn at once; no result depends on it.  [default: 64]")
@device_option()
@set_option("Override a sampler setting, such as sampling.image.steps=32; repeatable.")
@click.option("--show-samples", is_flag=True, help="Show samples on the page although the data's terms restrict them.")
@overwrite_option()
@click.pass_context
def run(
    ctx: click.Context,
    tasks: tuple[str, ...],
    suite: str | None,
    model: str | None,
    data: str | None,
    out: Path | None,
    split: str | None,
    limit: int | None,
    seed: int | None,
    batch_size: int | None,
    device: str | None,
    overrides: dict[str, str],
    show_samples: bool,
    overwrite: bool,
) -> None:
    """Generates with --model for the test cases of --data, scores it beside its anchors, and builds the page in --out.

    TASK is image-generation, report-generation, joint-generation, or "all" for these three; augmentation, likelihood,
    memorisation, fine-detail and long-form are not built yet.

    The same command again continues what was interrupted and generates nothing twice.
    """
    for task in tasks:
        if task in PLANNED:
            not_built(f"run {task}", PLANNED[task])
        if task not in TASKS:
            raise unknown("task", task, TASKS)
    from benchmark.execute import execute_run, execute_suite

    shared: dict[str, Any] = {"split": split, "limit": limit, "seed": seed, "batch_size": batch_size}
    given = {key: value for key, value in shared.items() if value is not None}
    if suite is not None:
        replaced: dict[str, Any] = {"model": model, "data": data, "out": out, "tasks": tasks or None}
        given |= {key: value for key, value in replaced.items() if value is not None}
        ctx.exit(
            execute_suite(suite, overrides=overrides, device=device, overwrite=overwrite, show_samples=show_samples, **given)
        )
    for name, value in (("a TASK (or --suite NAME)", tasks), ("--model", model), ("--data", data), ("--out", out)):
        if not value:
            raise UserError(f"run needs {name}")
    assert model is not None
    assert data is not None
    assert out is not None
    ctx.exit(
        execute_run(
            tasks, model, data, out, overrides=overrides, device=device, overwrite=overwrite, show_samples=show_samples, **given
        )
    )
