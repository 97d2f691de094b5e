"""`medim-bench run`: tasks, from generating to the built page."""

from pathlib import Path
from typing import Any

import click

from benchmark.commands.options import (
    PROTOCOLS,
    NearestChoice,
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
from medim.common.errors import UserError, unknown

BUILT = (
    "image-generation", "report-generation", "joint-generation", "likelihood", "memorisation", "editing", "editing-removal",
    "inpainting", "long-form", "fine-detail",
)  # fmt: skip
ALONE = "augmentation"  # it trains models of its own, and is no part of "all"
TASKS = (*BUILT, ALONE, "all")


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
@click.option(
    "--preset",
    metavar="quick|full|demo",
    help="augmentation: arms, levels, seeds; --set augmentation.FIELD=...  [default: quick]",
)
@click.option(
    "--regime", type=NearestChoice("regime", ("budget-matched", "external-prior")),
    help="augmentation: what --model was trained on: the low-data pairs alone, or more.  [default: external-prior]",
)  # fmt: skip
@click.option("--downstream", metavar="NAME", help="augmentation: what is trained on the pairs, such as r2gen-tiny.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples drawn at once; no result depends on it.  [default: 64]")
@device_option()
@set_option("Override a setting of the model, such as sampling.image.steps=32 or dtype=bfloat16; repeatable.")
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
    preset: str | None,
    regime: str | None,
    downstream: str | None,
    batch_size: int | None,
    device: str | None,
    overrides: dict[str, str],
    show_samples: bool,
    cache: str | None,
    overwrite: bool,
) -> None:
    """Generates with --model for the test cases of --data, scores it beside its anchors, and builds the page in --out.

    TASK is image-generation, report-generation, joint-generation, likelihood, memorisation, editing, editing-removal,
    inpainting, long-form, fine-detail, augmentation, or "all" for what the model can do of these but the last.

    memorisation draws unprompted pairs and looks for each in the whole training split, which is read once and then kept in
    --cache; --data NAME:train=10% searches a tenth of it.

    long-form reads reports sentence by sentence: contradictions, repetition, findings by where they are told, length.

    fine-detail draws phantoms with one lesion of each size and contrast (--data phantom or phantom-v2), and looks for it as
    drawn, after the tokenizer's round trip, and in what is generated from the report that tells of it.

    augmentation trains a downstream model with and without pairs that --model generates for a low-data set (--data D:train=1%,
    or the share of the preset), in arms with controls; it stands alone in its --out.

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
        if task not in TASKS:
            raise unknown("task", task, TASKS)
    own = {"preset": preset, "regime": regime, "downstream": downstream}
    own = {key: value for key, value in own.items() if value is not None}
    if ALONE in tasks or own:
        foreign = {"--split": split, "--limit": limit, "--features": features, "--judge": judge, "--cache": cache}
        ctx.exit(
            _augmentation(
                tasks, suite, model, data, out, foreign, overrides=overrides, device=device, overwrite=overwrite,
                show_samples=show_samples, resolution=resolution, seed=seed or 0, batch_size=batch_size or 64,
                protocol=protocol or PROTOCOLS[0], **own,
            )
        )  # fmt: skip
    from benchmark.run.execute import execute_run, execute_suite

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


def _augmentation(
    tasks: tuple[str, ...],
    suite: str | None,
    model: str | None,
    data: tuple[str, ...],
    out: Path | None,
    foreign: dict[str, Any],
    **options: Any,
) -> int:
    """Runs `augmentation`, with which no other task and none of the `foreign` options go."""
    if tasks != (ALONE,) or suite is not None:
        raise UserError(f"--preset, --regime and --downstream belong to the task {ALONE}, which is run alone")
    if given := [name for name, value in foreign.items() if value]:
        raise UserError(f"{ALONE} takes no {given[0]}: its preset says how many cases of val and test are used")
    if model is None or len(data) != 1 or out is None:
        raise UserError(f"run {ALONE} needs --model, one --data and --out")
    from benchmark.augmentation.execute import execute_augmentation

    return execute_augmentation(model, data[0], out, **options)
