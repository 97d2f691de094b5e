"""`medim-bench ablate`: the same training with one choice changed at a time."""

from pathlib import Path

import click

from benchmark.commands.options import (
    NearestChoice,
    data_option,
    device_option,
    out_option,
    overwrite_option,
    refuse_others,
    set_option,
)

SETS = ("table4", "choices", "adaln", "prior", "text-prior", "all")


@click.command(short_help="Compare design choices, one at a time: the paper's Table 4 and more.")
@click.option(
    "--set-of",
    type=NearestChoice("set of arms", SETS),
    help="Arms: table4, choices, adaln, prior, text-prior or all.  [default: table4]",
)
@click.option("--arms", metavar="A,B,...", help="Arms by name, or YAML files with title and overrides of the recipe.")
@click.option(
    "--tokenizer-arm",
    "tokenizer_arms",
    multiple=True,
    metavar="NAME=DIR",
    help="An arm with its own image tokenizer; from random weights where the preset's backbone knows the codes of another.",
)
@click.option(
    "--backbone-arm",
    "backbone_arms",
    multiple=True,
    metavar="NAME=ID",
    help="An arm from another causal language model, at the preset's rates; for rates of its own give a file with --arms.",
)
@click.option("--preset", metavar="NAME|FILE.yaml", help="The recipe that the arms vary.")
@data_option()
@out_option(required=False)
@click.option("--tokenizer", metavar="DIR", help="Folder of a trained image tokenizer; else the one that the preset names.")
@click.option("--seeds", metavar="0,1,2", default="0", show_default=True, help="Seeds to train every arm with.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Optimiser steps of every arm.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Trainings at once.  [default: one for each GPU, else 1]")
@click.option("--eval-pairs", type=click.IntRange(min=1), default=256, show_default=True, help="Validation pairs that compare.")
@click.option("--draws", type=click.IntRange(min=1), default=8, show_default=True, help="Of the noise, for each of them.")
@click.option("--generation/--no-generation", default=True, help="Sample from every arm, for the other columns of Table 4.")
@click.option("--limit", type=click.IntRange(min=1), default=64, show_default=True, metavar="N", help="Test cases to sample.")
@click.option("--report-only", is_flag=True, help="Train nothing: tables and plots of what is done.")
@click.option("--checkpoint", metavar="DIR", help="Train nothing: this model with mask and timestep switched at inference.")
@device_option()
@set_option("A field of the recipe, for all arms, or of the sampler, such as sampling.image.steps=32; repeatable.")
@overwrite_option()
@click.pass_context
def ablate(
    ctx: click.Context,
    set_of: str | None,
    arms: str | None,
    tokenizer_arms: tuple[str, ...],
    backbone_arms: tuple[str, ...],
    preset: str | None,
    data: str,
    out: Path | None,
    tokenizer: str | None,
    seeds: str,
    steps: int | None,
    jobs: int | None,
    eval_pairs: int,
    draws: int,
    generation: bool,
    limit: int,
    report_only: bool,
    checkpoint: str | None,
    device: str | None,
    overrides: dict[str, str],
    overwrite: bool,
) -> None:
    """Trains a recipe with one choice changed at a time, over seeds, and says what each choice is worth.

    The primary endpoint is the bound on -log p(image, report) of validation pairs under noise that is the same for all arms;
    its difference to the arm that each is compared with has a 95 % interval over patients and seeds. Then the columns
    of the paper's Table 4 on test cases. --out gets ablation.md, .csv, .json, curves.png, tornado.png, grid.png, records.jsonl.

    DIR/ARM/seed-N is a folder as `train model` writes it, with its log.txt. The same command again continues. With other --arms
    or --seeds these are trained beside what is there; the tables hold the arms and seeds of the last command.

    --checkpoint DIR --data D prints the bound of one trained model as it is, with the causal mask on, with the timestep held
    and with it off.
    """
    if checkpoint is not None:
        refuse_others(ctx, "ablate --checkpoint", ("checkpoint", "data", "eval_pairs", "draws", "device"))
        from benchmark.ablation.plan import Evaluation
        from benchmark.ablation.quick_check import quick_check

        quick_check(checkpoint, data, Evaluation(eval_pairs, draws), device)
        return
    if preset is None or out is None:
        raise click.UsageError("--preset and --out are needed (or --checkpoint)")
    from benchmark.ablation.execute import execute_ablation

    ctx.exit(
        execute_ablation(
            set_of, arms, tokenizer_arms, backbone_arms, preset=preset, data=data, out=out, tokenizer=tokenizer, seeds=seeds,
            steps=steps, jobs=jobs, eval_pairs=eval_pairs, draws=draws, limit=limit if generation else None,
            report_only=report_only, device=device, overrides=overrides, overwrite=overwrite,
        )
    )  # fmt: skip
