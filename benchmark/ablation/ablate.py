"""From the command's options to trained, measured and compared arms."""

import json
from contextlib import nullcontext
from pathlib import Path

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.ablation.arms import SETS, backbone_arm, chosen_arms, shipped, tokenizer_arm
from benchmark.ablation.inputs import check_inputs
from benchmark.ablation.likelihood import EVALUATION
from benchmark.ablation.one_training import JOB_LOCK
from benchmark.ablation.options import AblateOptions
from benchmark.ablation.outputs import TABLE, write_report
from benchmark.ablation.plan import CACHE, RUN, Evaluation, Generation, Plan, make_plan
from benchmark.ablation.plan import DONE as KEYS
from benchmark.ablation.pool import LOG, Failed, run_jobs
from benchmark.results.provenance import command_line
from benchmark.run.generation import FAILURES
from benchmark.systems import SAMPLING, checkers_that_steer
from medim.common.errors import UserError
from medim.common.files import write_text
from medim.common.locks import held
from medim.data.dataset import PairDataset
from medim.data.loading import load_dataset
from medim.sampling.settings import SamplerSettings
from medim.training.folder import clear_training, remove
from medim.training.recipe import ModelRecipe, load_recipe

PLAN_LOCK = ".ablation.lock"  # of --out while trainings run; a report alone may be written meanwhile


def execute_ablation(options: AblateOptions) -> int:
    """Trains, evaluates and reports; returns the exit status.

    Raises:
        UserError: a mistake in the options, a folder that holds another training or that another command trains in, or what
            trainings need is missing: nothing is begun or removed.
    """
    preset, out, arms = options.preset, options.out, options.arms
    assert preset is not None
    assert out is not None
    names = list(SETS[options.set_of or "table4"]) if options.set_of is not None or arms is None else []
    names += [name.strip() for name in arms.split(",") if name.strip()] if arms is not None else []
    if not (names or options.tokenizer_arms or options.backbone_arms):
        raise UserError(f"--arms '{arms}' names no arm; choose from {', '.join(shipped())}")
    dataset = load_dataset(options.data)
    recipe_settings = [f"{key}={value}" for key, value in options.overrides.items() if not key.startswith(SAMPLING)]
    recipe = load_recipe(ModelRecipe, preset, "", recipe_settings)
    codes_known = recipe.pretrained and recipe.backbone_image_offset is not None
    more = [tokenizer_arm(text, codes_known) for text in options.tokenizer_arms]
    more += map(backbone_arm, options.backbone_arms)
    chosen = chosen_arms(list(dict.fromkeys(names)), more)
    sampling = {key.removeprefix(SAMPLING): value for key, value in options.overrides.items() if key.startswith(SAMPLING)}
    sampler = SamplerSettings().with_overrides(sampling)  # a mistake is told before anything is trained
    if options.generation and sampler.steering.asked:
        checkers_that_steer(dataset)
    plan = make_plan(
        chosen, parse_seeds(options.seeds), preset=preset, data=options.data, out=out, tokenizer=options.tokenizer,
        steps=options.steps, overrides=recipe_settings, evaluation=Evaluation(options.eval_pairs, options.draws),
        generation=Generation(options.limit, sampling=sampling) if options.generation else None, command=command_line(),
        device=options.device,
    )  # fmt: skip
    for name, reason in plan.left_out.items():
        click.echo(f"{name}: left out: {reason}", err=True)
    untrained = (
        [] if options.report_only else [job for job in plan.jobs if options.overwrite or not job.trained(dataset.fingerprint)]
    )
    check_inputs(untrained, dataset)  # before the folder is touched
    with nullcontext() if options.report_only else held(out, PLAN_LOCK):
        failed = [] if options.report_only else carry_out(plan, dataset, options)
        write_report(plan, dataset, out)
    click.echo((out / TABLE).read_text(encoding="utf-8"))
    click.echo(f"table: {out / TABLE}")
    return WITH_FAILURES if failed else DONE


def carry_out(plan: Plan, dataset: PairDataset, options: AblateOptions) -> list[Failed]:
    """Does what is missing of every job; what failed stands in `failures.jsonl`.

    Raises:
        UserError: a folder holds another training.
    """
    if options.overwrite:
        for job in plan.jobs:
            clear(job.folder)
    missing = [job for job in plan.jobs if job.missing(dataset.fingerprint)]
    click.echo(
        f"{len(plan.arms)} arms, {len(plan.seeds)} seeds: {len(plan.jobs) - len(missing)} of {len(plan.jobs)} trainings done",
        err=True,
    )
    device = options.device
    gpus = 0 if device is not None and not device.startswith("cuda") else _gpus()
    if device is not None and ":" in device:  # one GPU named
        gpus = 0
    failed = run_jobs(missing, options.jobs or max(1, gpus), gpus)
    out = plan.jobs[0].out
    if failed:
        lines = [{"arm": one.job.arm, "seed": one.job.seed, "status": one.status, "error": one.error} for one in failed]
        write_text(out / FAILURES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        click.echo(f"{len(failed)} of {len(plan.jobs)} trainings have failures: {out / FAILURES}", err=True)
    else:
        (out / FAILURES).unlink(missing_ok=True)
    return failed


def parse_seeds(text: str) -> list[int]:
    """`0,1,2` as whole numbers, each once.

    Raises:
        UserError: something else.
    """
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: give whole numbers parted by commas, such as 0,1,2") from None
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text}: each seed once, and none below 0")
    return seeds


def clear(folder: Path) -> None:
    """Removes one arm's training with one seed, and what was made of it.

    Raises:
        UserError: the folder holds something else than a training, or is being worked on.
    """
    if not folder.exists():
        return
    with held(folder, JOB_LOCK), held(folder):
        clear_training(folder, "backbone")
        remove(folder, LOG, CACHE, RUN, EVALUATION, KEYS)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
