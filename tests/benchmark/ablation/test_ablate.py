"""The command's first steps: mistakes are told before anything is trained, and starting anew removes only trainings."""

import subprocess
import sys
from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from benchmark.ablation.ablate import PLAN_LOCK, check_inputs, clear
from benchmark.ablation.arms import chosen_arms
from benchmark.ablation.one_training import JOB_LOCK
from benchmark.ablation.plan import Evaluation, make_plan
from benchmark.cli import main
from medim.common.errors import UserError
from medim.common.locks import LOCK, held


def test_a_sampler_setting_that_does_not_exist_is_told_before_anything_is_trained(tmp_path):
    arguments = ["ablate", "--arms", "full", "--preset", "phantom-tiny", "--data", "phantom", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(main, [*arguments, "--limit", "2", "--set", "sampling.image.stpes=4"])
    assert told.exit_code == 2
    assert "did you mean 'image.steps'" in told.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arms", ["", ","])
def test_no_arm_is_told(tmp_path, arms):
    arguments = ["ablate", "--arms", arms, "--preset", "phantom-tiny", "--data", "phantom", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 2
    assert "names no arm; choose from annealing" in told.output


def test_steering_without_checkers_that_steer_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.ablation.ablate.checkers_that_steer", Mock(side_effect=UserError("none that steer")))
    arguments = ["ablate", "--arms", "full", "--preset", "phantom-tiny", "--data", "phantom", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(main, [*arguments, "--limit", "2", "--set", "sampling.steering.candidates=2"])
    assert told.exit_code == 2
    assert "none that steer" in told.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--set", "backbone=weights/none"), "every arm: backbone: folder 'weights/none' does not exist"),
        (("--tokenizer", "weights/vq"), "every arm: folder 'weights/vq' does not exist"),
        (("--backbone-arm", "other=weights/none"), "nothing is trained: other: backbone: folder 'weights/none' does not exist"),
    ],
)
def test_what_trainings_need_is_looked_at_once_before_the_first(tmp_path, monkeypatch, given, told):
    monkeypatch.setattr("benchmark.ablation.ablate.run_jobs", Mock(side_effect=AssertionError("a training was started")))
    arguments = ["ablate", "--arms", "full,annealing", "--preset", "phantom-tiny", "--data", "phantom"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out"), *given])
    assert done.exit_code == 2, done.output
    assert told in done.output
    assert not (tmp_path / "out").exists()


def test_a_second_ablation_in_the_same_folder_is_refused_before_it_trains_anything(tmp_path):
    """Of two processes: the first holds the folder for its whole time, also before its first training has begun."""
    out = tmp_path / "out"
    holder = (
        "import sys; from pathlib import Path; from medim.common.locks import held\n"
        "from benchmark.ablation.ablate import PLAN_LOCK\n"
        "with held(Path(sys.argv[1]), PLAN_LOCK): print('held', flush=True); sys.stdin.read()"
    )
    command = ["ablate", "--arms", "full", "--preset", "phantom-tiny", "--data", "phantom", "--out", str(out), "--steps", "1"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", holder, str(out)], **pipes) as first:
        assert first.stdout.readline() == "held\n"
        second = CliRunner().invoke(main, command)
        first.stdin.close()
    assert second.exit_code == 2
    assert second.output.splitlines()[-1].endswith("another process; wait for it, or choose another folder")
    assert [path.name for path in out.iterdir()] == [PLAN_LOCK]


def test_data_without_a_split_is_told_before_anything_is_trained(tmp_path):
    class Data:
        name = "half"

        def size(self, split):
            return 0 if split == "val" else 9

    jobs = make_plan(
        chosen_arms(["full"]),
        [0],
        (),
        preset="phantom-tiny",
        data="half",
        out=tmp_path,
        steps=2,
        evaluation=Evaluation(),
        generation=None,
    ).jobs
    with pytest.raises(UserError, match="'half' has no pairs in split 'val'"):
        check_inputs(jobs, Data())


def test_starting_anew_removes_a_training_and_what_was_made_of_it(tmp_path, plan_in, pretend):
    plan = plan_in(tmp_path, ["full"], [0])
    pretend(plan, "print", {"full": 0.0})
    folder = plan.jobs[0].folder
    (folder / "run").mkdir()
    (folder / "log.txt").touch()
    (folder / "notes.txt").touch()
    clear(tmp_path / "absent")
    clear(folder)
    clear(folder)
    assert {path.name for path in folder.iterdir()} == {LOCK, JOB_LOCK, "notes.txt"}


@pytest.mark.parametrize("lock", [LOCK, JOB_LOCK])
def test_a_training_that_is_worked_on_is_not_removed(tmp_path, plan_in, pretend, lock):
    plan = plan_in(tmp_path, ["full"], [0])
    pretend(plan, "print", {"full": 0.0})
    folder = plan.jobs[0].folder
    with held(folder, lock), pytest.raises(UserError, match="being worked on by another process"):
        clear(folder)
    assert (folder / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--out", "o"], "--out"),
        (["--seeds", "0"], "--seeds"),
        (["--steps", "3"], "--steps"),
        (["--limit", "64"], "--limit"),
        (["--set", "a=1"], "--set"),
        (["--overwrite"], "--overwrite"),
        (["--no-generation"], "--generation/--no-generation"),
    ],
)
def test_a_quick_check_refuses_what_it_does_not_read(arguments, told):
    result = CliRunner().invoke(main, ["ablate", "--checkpoint", "phantom-tiny", "--data", "phantom", *arguments])
    assert result.exit_code == 2
    assert f"ablate --checkpoint takes no {told}" in result.output
