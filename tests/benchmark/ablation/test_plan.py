"""Plans: recipes of arms, what changes nothing, what is done, what is refused."""

from dataclasses import replace

import pytest

from benchmark.ablation.arms import SETS
from benchmark.ablation.plan import Evaluation, Generation, Job, train_command
from medim.common.errors import UserError


def test_a_recipe_is_the_preset_then_the_settings_then_the_arm_then_the_seed(tmp_path, plan_in):
    plan = plan_in(tmp_path, ["no-adaln"], [3])
    recipes = {job.arm: job.recipe() for job in plan.jobs}
    assert list(recipes) == ["full", "no-adaln"]
    assert {(recipe.max_steps, recipe.seed, recipe.bf16) for recipe in recipes.values()} == {(2, 3, False)}
    changed = {key for key, value in recipes["full"] if getattr(recipes["no-adaln"], key) != value}
    assert changed == {"timestep"}
    assert plan.jobs[1].folder == tmp_path / "no-adaln" / "seed-3"


def test_an_arm_that_changes_nothing_is_left_out_with_the_reason(tmp_path, plan_in):
    plan = plan_in(tmp_path, list(SETS["all"]), [0])
    assert set(plan.left_out) == {"no-pretrained", "positions-learned"}
    assert "the same as 'full'" in plan.left_out["no-pretrained"]


def test_every_arm_has_its_first_seed_before_any_has_its_second(tmp_path, plan_in):
    order = [(job.arm, job.seed) for job in plan_in(tmp_path, ["full", "no-adaln"], [0, 1]).jobs]
    assert order == [("full", 0), ("no-adaln", 0), ("full", 1), ("no-adaln", 1)]


def test_a_job_survives_the_pipe(tmp_path, plan_in):
    for generation in (None, Generation(5, sampling={"image.steps": "4"})):
        for job in plan_in(tmp_path, ["annealing"], [0], generation).jobs:
            assert Job.from_json(job.to_json()) == job


def test_the_command_of_a_training_stands_alone(tmp_path, plan_in):
    job = plan_in(tmp_path, ["full"], [0]).jobs[0]
    command = train_command(job)
    assert command[:4] == ["medim-bench", "train", "model", "--preset"]
    assert [command[index + 1] for index, word in enumerate(command) if word == "--set"] == list(job.settings)


def test_what_is_missing(tmp_path, plan_in, pretend):
    plan = plan_in(tmp_path, ["full"], [0])
    job = plan.jobs[0]
    assert job.missing("print") == ["training", "evaluation"]
    pretend(plan, "print", {"full": 0.0})
    assert job.missing("print") == []
    assert replace(job, evaluation=Evaluation(pairs=5, draws=2)).missing("print") == ["evaluation"]
    assert replace(job, generation=Generation()).missing("print") == ["generation"]
    (job.folder / "model.safetensors").unlink()
    assert job.missing("print") == ["training", "evaluation"]


def test_another_recipe_or_other_data_is_refused(tmp_path, plan_in, pretend):
    plan = plan_in(tmp_path, ["full"], [0])
    pretend(plan, "print", {"full": 0.0})
    job = plan.jobs[0]
    with pytest.raises(UserError, match=r"learning_rate = 0.0015, and now learning_rate = 0.5: choose another folder"):
        replace(job, settings=(*job.settings, "learning_rate=0.5")).missing("print")
    with pytest.raises(UserError, match="data_fingerprint"):
        job.missing("other")


def test_samples_of_other_settings_make_way_and_begun_ones_are_continued(tmp_path, plan_in, pretend):
    plan = plan_in(tmp_path, ["full"], [0])
    pretend(plan, "print", {"full": 0.0})
    few, more = (replace(plan.jobs[0], generation=Generation(limit=limit)) for limit in (2, 4))
    sample = few.folder / "run" / "samples.jsonl"

    def left_after(job: Job) -> bool:
        job.begin_generation()
        was_there = sample.exists()
        sample.parent.mkdir(exist_ok=True)
        sample.touch()
        return was_there

    sample.parent.mkdir()
    sample.touch()
    assert left_after(few), "begun before it was noted what was begun"
    assert left_after(few)
    assert not left_after(more), "begun with another limit"
    assert left_after(more)
    more.mark("generation")
    assert left_after(more)
    assert not left_after(few), "done with another limit"
    assert few.missing("print") == ["generation"]
    assert replace(few, generation=None).missing("print") == []


def test_samples_that_an_older_version_finished_make_way_for_others(tmp_path, plan_in, pretend):
    plan = plan_in(tmp_path, ["full"], [0])
    pretend(plan, "print", {"full": 0.0})
    few, more = (replace(plan.jobs[0], generation=Generation(limit=limit)) for limit in (2, 4))
    few.mark("generation")
    (few.folder / "run").mkdir()
    more.begin_generation()
    assert not (few.folder / "run").exists()
