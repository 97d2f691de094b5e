"""Two processes see the noise of one, and end where it ends; sharded training is saved whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from medim.pipeline import MeDiMPipeline

FSDP2 = Path(__file__).resolve().parents[3] / "medim" / "training" / "launch" / "fsdp2.yaml"
CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SCRIPT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("world", sys.argv[1])
world = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)
from pathlib import Path
from medim.training.train import train_model
train_model(sys.argv[2], world.Squares(), Path(sys.argv[3]), overrides=tuple(sys.argv[4:]), device="cpu")
"""


def train(recipe: Path, out: Path, processes: int, *overrides: str, **environment: str) -> Path:
    script = out.parent / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*start, str(script), str(CONFTEST), str(recipe), str(out), *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
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


@pytest.mark.slow
def test_sharded_training_ends_in_a_model_that_loads(recipe_file, tmp_path):
    config = yaml.safe_load(FSDP2.read_text(encoding="utf-8"))["fsdp_config"]
    environment = {key.upper(): str(value) for key, value in config.items()}  # as `accelerate launch` passes them on
    one = train(recipe_file, tmp_path / "one", 1, "per_device_train_batch_size=8", "logging_steps=1")
    two = train(
        recipe_file, tmp_path / "two", 2, "per_device_train_batch_size=4", "logging_steps=1", ACCELERATE_USE_FSDP="true",
        **environment,
    )  # fmt: skip
    assert curve(one, "loss") == pytest.approx(curve(two, "loss"), rel=1e-4)
    a, b = (load_file(out / "model.safetensors") for out in (one, two))
    assert a.keys() == b.keys()
    assert all(torch.allclose(a[key], b[key], atol=1e-3) for key in a)
    MeDiMPipeline.from_pretrained(two, device="cpu")
