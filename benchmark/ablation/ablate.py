"""`medim-bench ablate`: from the command's options to trained, measured and compared arms."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click
import torch

from benchmark import DONE, WITH_FAILURES
from benchmark.ablation.arms import SETS, backbone_arm, chosen_arms, shipped, tokenizer_arm
from benchmark.ablation.one_training import JOB_LOCK
from benchmark.ablation.options import AblateOptions
from benchmark.ablation.outputs import TABLE, write_report
from benchmark.ablation.plan import CACHE, EVALUATION, RUN, Evaluation, Generation, Job, Plan, make_plan
from benchmark.ablation.plan import DONE as KEYS
from benchmark.ablation.pool import LOG, Failed, run_jobs
from benchmark.provenance import command_line
from benchmark.run.generation import FAILURES
from benchmark.systems import SAMPLING, checkers_that_steer
from medim.backbones.causal_lm import load_tokenizer
from medim.checkpoints import resolve
from medim.common.errors import UserError
from medim.common.files import write_text
from medim.common.locks import held
from medim.data.dataset import PairDataset
from medim.data.loading import load_dataset
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.image import ImageTokenizer
from medim.training.as_causal_lm import check_image_ids
from medim.training.folder import clear_training, remove
from medim.training.recipe import ModelRecipe, load_recipe
from medim.training.train import backbone_config, check_backbone
from tasks import task_named

INPUTS = ("pretrained", "layers", "replaced_by", "backbone_image_offset", "image_tokenizer", "report_vocabulary", "lora_rank")
"""Fields of a recipe that decide, beside the backbone, what a training reads."""
PLAN_LOCK = ".ablation.lock"  # of --out while trainings run; a report alone may be written meanwhile


def execute_ablation(options: AblateOptions) -> int:
    """Trains, evaluates and reports; returns the exit status. Raises UserError: a mistake in the options, a folder that holds
    another training or that another command trains in, or what trainings need is missing: nothing is started or removed."""
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
    sampler = SamplerSettings().with_overrides(sampling)  # a mistake is refused before anything is trained
    if options.generation and sampler.steering.needs_checkers:
        checkers_that_steer(dataset)
    plan = make_plan(
        chosen,
        parse_seeds(options.seeds),
        recipe_settings,
        preset=preset,
        tokenizer=options.tokenizer,
        steps=options.steps,
        data=options.data,
        out=out,
        evaluation=Evaluation(options.eval_pairs, options.draws),
        generation=Generation(options.limit, sampling=sampling) if options.generation else None,
        command=command_line(),
        device=options.device,
    )
    for name, reason in plan.left_out.items():
        click.echo(f"{name}: left out: {reason}", err=True)
    failed: list[Failed] = []
    if options.report_only:
        write_report(plan, dataset, out)
    else:
        untrained = [job for job in plan.jobs if options.overwrite or not job.trained(dataset.fingerprint)]
        check_inputs(untrained, dataset)  # before the folder is touched
        with held(out, PLAN_LOCK):
            failed = carry_out(plan, dataset, options)
            write_report(plan, dataset, out)
    click.echo((out / TABLE).read_text(encoding="utf-8"))
    click.echo(f"table: {out / TABLE}")
    return WITH_FAILURES if failed else DONE


def carry_out(plan: Plan, dataset: PairDataset, options: AblateOptions) -> list[Failed]:
    """Does what is missing of every job; what failed stands in `failures.jsonl`.
    Raises UserError: a folder holds another training."""
    if options.overwrite:
        for job in plan.jobs:
            clear(job.folder)
    missing = [job for job in plan.jobs if job.missing(dataset.fingerprint)]
    done = f"{len(plan.jobs) - len(missing)} of {len(plan.jobs)} trainings done"
    click.echo(f"{len(plan.arms)} arms, {len(plan.seeds)} seeds: {done}", err=True)
    gpus = torch.cuda.device_count() if options.device in (None, "cuda") else 0  # a GPU that is named is not shared out
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
    """`0,1,2` as whole numbers, each once. Raises UserError: something else."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: give whole numbers parted by commas, such as 0,1,2") from None
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text}: each seed once, and none below 0")
    return seeds


def clear(folder: Path) -> None:
    """Removes one arm's training with one seed, and what was derived from it.
    Raises UserError: the folder holds something else than a training, or is being worked on."""
    if not folder.exists():
        return
    with held(folder, JOB_LOCK), held(folder):
        clear_training(folder, "backbone")
        remove(folder, LOG, CACHE, RUN, EVALUATION, KEYS)


def check_inputs(jobs: Sequence[Job], dataset: PairDataset) -> None:
    """Opens every image tokenizer, backbone's configuration and report tokenizer of these jobs once; no weights are read.
    Raises UserError: something is missing; the message names the arms that need it."""
    for job in jobs[:1]:
        splits = ["train", "val", job.evaluation.split, *([job.generation.split] if job.generation is not None else [])]
        for split in dict.fromkeys(splits):
            if not dataset.size(split):
                raise UserError(f"data set '{dataset.name}' has no pairs in split '{split}', which an ablation needs")
        if job.generation is not None:
            task_named("report-generation")  # which needs an extra
    problems: dict[tuple[object, ...], str] = {}
    arms: dict[str, list[str]] = {}
    for arm, recipe in {job.arm: job.recipe() for job in jobs}.items():
        key = (repr(recipe.backbone), *(getattr(recipe, name) for name in INPUTS))
        if key not in problems:
            problems[key] = _problem(recipe)
        arms.setdefault(problems[key], []).append(arm)
    for problem, names in arms.items():
        if problem:
            raise UserError(f"nothing is trained: {'every arm' if len(arms) == 1 else ', '.join(names)}: {problem}")


def _problem(recipe: ModelRecipe) -> str:
    """What a training of this recipe lacks; empty where nothing is missing."""
    try:
        _check_recipe(recipe)
    except UserError as error:
        return str(error)
    return ""


def _check_recipe(recipe: ModelRecipe) -> None:
    if recipe.image_tokenizer is None:
        raise UserError("the preset names no image tokenizer: give --tokenizer DIR")
    check_backbone(recipe)
    backbone_config(recipe, recipe.report_vocabulary or 1)
    if isinstance(recipe.backbone, str) and recipe.report_vocabulary is None:
        load_tokenizer(recipe.backbone)
    if recipe.lora_rank is not None and find_spec("peft") is None:
        raise UserError("lora_rank needs the package peft: pip install 'medim-bench[lora]'")
    check_image_ids(recipe, ImageTokenizer.from_pretrained(resolve(recipe.image_tokenizer, "image_tokenizer")))
