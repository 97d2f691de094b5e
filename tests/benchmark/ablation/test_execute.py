"""The command's first steps: mistakes are told before anything is trained, and starting anew removes only trainings."""

from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from benchmark.ablation.execute import clear
from benchmark.ablation.work import JOB_LOCK
from benchmark.cli import main
from medim.errors import UserError
from medim.locks import LOCK, held


def test_a_sampler_setting_that_does_not_exist_is_told_before_anything_is_trained(tmp_path):
    arguments = ["ablate", "--arms", "full", "--preset", "phantom-tiny", "--data", "phantom", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(main, [*arguments, "--limit", "2", "--set", "sampling.image.stpes=4"])
    assert told.exit_code == 2
    assert "did you mean 'steps'" in told.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arms", ["", ","])
def test_no_arm_is_told(tmp_path, arms):
    arguments = ["ablate", "--arms", arms, "--preset", "phantom-tiny", "--data", "phantom", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 2
    assert "names no arm; choose from annealing" in told.output


def test_steering_without_checkers_that_steer_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.ablation.execute.checkers_that_steer", Mock(side_effect=UserError("none that steer")))
    arguments = ["ablate", "--arms", "full", "--preset", "phantom-tiny", "--data", "phantom", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(main, [*arguments, "--limit", "2", "--set", "sampling.steering.candidates=2"])
    assert told.exit_code == 2
    assert "none that steer" in told.output
    assert not (tmp_path / "out").exists()


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
        (["--out", "o"], "--out"), (["--seeds", "0"], "--seeds"), (["--steps", "3"], "--steps"), (["--limit", "64"], "--limit"),
        (["--set", "a=1"], "--set"), (["--overwrite"], "--overwrite"), (["--no-generation"], "--generation/--no-generation"),
    ],
)  # fmt: skip
def test_a_quick_check_refuses_what_it_does_not_read(arguments, told):
    result = CliRunner().invoke(main, ["ablate", "--checkpoint", "phantom-tiny", "--data", "phantom", *arguments])
    assert result.exit_code == 2
    assert f"ablate --checkpoint takes no {told}" in result.output
