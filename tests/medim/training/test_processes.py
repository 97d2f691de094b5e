"""Two processes see the noise of one, and end where it ends, interrupted or not; sharded training is saved whole."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from medim.pipeline import MeDiMPipeline

LAUNCH = Path(__file__).resolve().parents[3] / "medim" / "training" / "launch"
CONFTEST = Path(__file__).resolve().parents[2] / "conftest.py"
SCRIPT = """
import importlib.util, os, signal, sys, threading, time
spec = importlib.util.spec_from_file_location("world", sys.argv[1])
world = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)
from pathlib import Path
from medim.training.train import train_model
if os.environ.get("INTERRUPTED") == os.environ.get("RANK"):
    def interrupt():
        while not (Path(sys.argv[3]) / "metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
train_model(sys.argv[2], world.Squares(), Path(sys.argv[3]), overrides=tuple(sys.argv[4:]), device="cpu")
"""


def start(recipe: Path, out: Path, processes: int, *overrides: str, **environment: str) -> subprocess.CompletedProcess:
    script = out.parent / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    python = [sys.executable]
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*python, str(script), str(CONFTEST), str(recipe), str(out), *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "INTERRUPTED": "none", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def train(recipe: Path, out: Path, processes: int, *overrides: str, **environment: str) -> Path:
    done = start(recipe, out, processes, *overrides, **environment)
    assert done.returncode == 0, done.stderr[-6000:]
    return out


def curve(out: Path, key: str) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


@pytest.mark.slow
def test_two_processes_see_the_noise_and_the_loss_of_one(recipe_file, tmp_path):
    settings = ("logging_steps=1", "max_steps=8")
    one = train(recipe_file, tmp_path / "one", 1, *settings, "per_device_train_batch_size=8")
    two = train(recipe_file, tmp_path / "two", 2, *settings, "per_device_train_batch_size=4")
    for key in ("loss", "eval_loss"):
        a, b = curve(one, key), curve(two, key)
        assert len(a) == len(b) > 1
        assert a == pytest.approx(b, rel=1e-5)
    a, b = (load_file(out / "model.safetensors") for out in (one, two))
    assert all((a[key] - b[key]).abs().max() < 1e-4 for key in a)
    seen = [json.loads((out / "training.json").read_text())["pairs_seen"] for out in (one, two)]
    assert seen == [64, 64]


@pytest.mark.slow
def test_all_processes_stop_at_one_step_though_the_signal_reached_one_of_them(recipe_file, tmp_path):
    settings = ("logging_steps=1", "max_steps=40", "eval_steps=1000", "save_steps=1000")
    half = tmp_path / "half"
    assert start(recipe_file, half, 2, *settings, INTERRUPTED="1").returncode != 0
    (checkpoint,) = half.glob("checkpoint-*/trainer_state.json")
    assert checkpoint.parent.name != "checkpoint-40"
    assert not (half / "training.json").exists()
    train(recipe_file, half, 2, *settings)
    whole = train(recipe_file, tmp_path / "whole", 2, *settings)
    a, b = (load_file(out / "model.safetensors") for out in (half, whole))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_launch_files_leave_the_precision_to_the_recipe_and_time_for_a_checkpoint():
    for path in LAUNCH.glob("*.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["mixed_precision"] == "no", path.name
    script = (LAUNCH / "slurm.sh").read_text(encoding="utf-8")
    notice, patience = (int(re.search(pattern, script)[1]) for pattern in (r"USR1@(\d+)", r"SHUTDOWN_TIMEOUT=(\d+)"))
    assert 60 < patience < notice


def test_a_step_of_slurm_gets_the_cores_of_its_job():
    script = (LAUNCH / "slurm.sh").read_text(encoding="utf-8")
    steps = [line for line in script.splitlines() if line.startswith("srun ")]
    assert len(steps) == 1
    assert all('--cpus-per-task="$SLURM_CPUS_PER_TASK"' in step for step in steps)


@pytest.mark.slow
def test_sharded_training_ends_in_a_model_that_loads(recipe_file, tmp_path):
    config = yaml.safe_load((LAUNCH / "fsdp2.yaml").read_text(encoding="utf-8"))["fsdp_config"]
    environment = {key.upper(): str(value) for key, value in config.items()}  # as `accelerate launch` passes them on
    one = train(recipe_file, tmp_path / "one", 1, "per_device_train_batch_size=8", "logging_steps=1")
    two = train(
        recipe_file,
        tmp_path / "two",
        2,
        "per_device_train_batch_size=4",
        "logging_steps=1",
        ACCELERATE_USE_FSDP="true",
        **environment,
    )
    assert curve(one, "loss") == pytest.approx(curve(two, "loss"), rel=1e-4)
    a, b = (load_file(out / "model.safetensors") for out in (one, two))
    assert a.keys() == b.keys()
    assert all(torch.allclose(a[key], b[key], atol=1e-3) for key in a)
    MeDiMPipeline.from_pretrained(two, device="cpu")
