"""`medim-bench run`: tasks, from generating to the built page."""

from pathlib import Path
from typing import Any

import click

from benchmark.options import (
    cache_option,
    device_option,
    features_option,
    judge_option,
    limit_option,
    model_option,
    out_option,
    overwrite_option,
    protocol_option,
    resolution_option,
    seed_option,
    set_option,
    show_samples_option,
)
from benchmark.status import not_built
from medim.errors import UserError, unknown

BUILT = (
    "image-generation", "report-generation", "joint-generation", "likelihood", "memorisation", "editing", "editing-removal",
    "inpainting",
)  # fmt: skip
PLANNED = {
    "augmentation": "it will train a downstream model with and without generated pairs",
    "fine-detail": "it will score small and lateralised findings one by one",
    "long-form": "it will score long reports by section",
}
TASKS = (*BUILT, *PLANNED, "all")


@click.command(short_help="Generate, score and rank a model on tasks.")
@click.argument("tasks", nargs=-1, metavar="TASK...")
@click.option(
    "--suite", metavar="NAME", help="A run as data: demo, quick, full, paper; options given here come before its own."
)
@model_option(
    required=False,
    help="Preset with shipped weights, local folder or hub id; diffusers:M, transformers:M, baseline:NAME; or a generator of "
    "another package.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="NAME|DIR",
    help="A registered data set, or a folder with pairs.jsonl; a suite takes several.",
)
@out_option(required=False)
@click.option("--split", default=None, help="Split to score on.  [default: test]")
@limit_option()
@seed_option(default=None)
@resolution_option()
@protocol_option()
@features_option()
@judge_option()
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples drawn at once; no result depends on it.  [default: 64]")
@device_option()
@set_option("Override a setting of the model, such as sampling.image.steps=32; repeatable.")
@show_samples_option()
@cache_option()
@overwrite_option()
@click.pass_context
def run(
    ctx: click.Context,
    tasks: tuple[str, ...],
    suite: str | None,
    model: str | None,
    data: tuple[str, ...],
    out: Path | None,
    split: str | None,
    limit: int | None,
    seed: int | None,
    resolution: int | None,
    protocol: str | None,
    features: tuple[str, ...],
    judge: Path | None,
    batch_size: int | None,
    device: str | None,
    overrides: dict[str, str],
    show_samples: bool,
    cache: str | None,
    overwrite: bool,
) -> None:
    """Generates with --model for the test cases of --data, scores it beside its anchors, and builds the page in --out.

    TASK is image-generation, report-generation, joint-generation, likelihood, memorisation, editing, editing-removal,
    inpainting, or "all" for what the model can do of these; augmentation, fine-detail and long-form are not built yet.

    memorisation draws unprompted pairs and looks for each in the whole training split, which is read once and then kept in
    --cache; --data NAME:train=10% searches a tenth of it.

    What --model cannot do is refused, and under "all" skipped with the reason. The same command again continues what was
    interrupted and generates nothing twice; another model on the same cases finds the anchors and the references' features
    in --cache.

    \b
    baseline:nearest-neighbour  the report (image) of the training case nearest by image (by report)
    baseline:training-copy      a training pair verbatim: the ceiling of memorisation
    baseline:shuffled           image and report of two training cases
    baseline:constant           one training pair for everything
    """
    for task in tasks:
        if task in PLANNED:
            not_built(f"run {task}", PLANNED[task])
        if task not in TASKS:
            raise unknown("task", task, TASKS)
    from benchmark.execute import execute_run, execute_suite

    shared: dict[str, Any] = {
        "split": split, "limit": limit, "seed": seed, "batch_size": batch_size, "resolution": resolution,
        "protocol": protocol, "features": features or None, "judge": judge,
    }  # fmt: skip
    given = {key: value for key, value in shared.items() if value is not None}
    if suite is not None:
        replaced: dict[str, Any] = {"model": model, "out": out, "tasks": tasks or None}
        given |= {key: value for key, value in replaced.items() if value is not None}
        ctx.exit(
            execute_suite(
                suite, data=data, overrides=overrides, device=device, overwrite=overwrite, show_samples=show_samples,
                cache=cache, **given,
            )
        )  # fmt: skip
    if len(data) > 1:
        raise UserError("run takes one --data; several are for a --suite, and A+B is a mixture of two as one set")
    for name, value in (("a TASK (or --suite NAME)", tasks), ("--model", model), ("--data", data), ("--out", out)):
        if not value:
            raise UserError(f"run needs {name}")
    assert model is not None
    assert out is not None
    ctx.exit(
        execute_run(
            tasks, model, data[0], out, overrides=overrides, device=device, overwrite=overwrite, show_samples=show_samples,
            cache=cache, **given,
        )
    )  # fmt: skip
