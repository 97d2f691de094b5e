"""What a reader of an ablation's tables must know beside them."""

from collections.abc import Iterator, Sequence

from benchmark.ablation.arms import Arm
from benchmark.ablation.comparison import Row
from benchmark.ablation.plan import DONE, Plan
from benchmark.ablation.stored import Measured
from medim.training.recipe import ModelRecipe

OTHER_NOISE = {"order", "transition", "image_tokenizer"}  # fields that decide where the noise of a seed falls
RATES = ("optimizer", "learning_rate", "muon_learning_rate", "lr_scheduler_type", "warmup_steps")
NEARLY = 0.05  # parameters that differ by a smaller share are as many


def remarks(plan: Plan, rows: Sequence[Row], measured: Sequence[Measured]) -> tuple[str, ...]:
    """Sentences: what is left out, unfinished or elsewhere, what differs between an arm and its base beside its choice."""
    found = [f"{name}: left out, {reason}." for name, reason in plan.left_out.items()]
    found += _unfinished(plan, measured)
    found += _beside(plan)
    for row in rows:
        base = next((one for one in rows if one.arm.name == row.arm.base), None)
        if base is not None:
            found += _differences(plan, row, base)
        found += [f"{row.arm.title}, {name}: {reason}." for name, reason in row.reasons.items()]
    return tuple(dict.fromkeys(found))


def _unfinished(plan: Plan, measured: Sequence[Measured]) -> Iterator[str]:
    done = {(one.arm.name, seed): trained for one in measured for seed, trained in one.seeds.items()}
    if missing := [job.name for job in plan.jobs if (job.arm, job.seed) not in done]:
        yield f"Not done yet: {', '.join(missing)}."
    without = [job.name for job in plan.jobs if (job.arm, job.seed) in done and done[job.arm, job.seed].run is None]
    if without and plan.jobs[0].generation is not None:
        yield f"Not sampled yet: {', '.join(without)}."


def _beside(plan: Plan) -> Iterator[str]:
    """Trainings that an earlier command with other arms or seeds left in the same folder."""
    ours = {job.folder for job in plan.jobs}
    others = sorted(path.parent for path in plan.jobs[0].out.glob(f"*/seed-*/{DONE}") if path.parent not in ours)
    if others:
        names = ", ".join(f"{folder.parent.name} {folder.name.replace('-', ' ')}" for folder in others)
        yield f"In this folder, but not asked for by --arms and --seeds: {names}."


def _differences(plan: Plan, row: Row, base: Row) -> Iterator[str]:
    mine, theirs = _recipe(plan, row.arm), _recipe(plan, base.arm)
    if row.arm.overrides.keys() & OTHER_NOISE:
        yield f"{row.arm.title}: its noise falls on other tokens than its base's; the pairs are the same."
    share = row.cost["parameters"] / base.cost["parameters"] - 1
    if abs(share) > NEARLY:
        less = "fewer" if share < 0 else "more"
        yield f"{row.arm.title}: {abs(share):.0%} {less} parameters than its base, which may tell too."
    if theirs.starts_pretrained and not mine.starts_pretrained and all(
        getattr(mine, rate) == getattr(theirs, rate) for rate in RATES
    ):  # fmt: skip
        yield (
            f"{row.arm.title}: random weights at the rates of the pretrained ones ({mine.optimizer}, {mine.learning_rate:g}); "
            "where others suit them better, that is part of the change."
        )


def _recipe(plan: Plan, arm: Arm) -> ModelRecipe:
    return plan.jobs_of(arm.name)[0].recipe()
