"""The commands as a user types them: killed, interrupted, given again. Slow: each starts several processes."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file
from torch import equal

pytestmark = pytest.mark.slow

TOKENIZER = """
resolution: 16
downsampling: 4
codes: 8
channels: [8, 8, 8]
latent_channels: 4
steps: 300
batch_size: 4
quantize_start: 5
restart_every: 10
eval_every: 100
save_steps: 20
logging_steps: 5
bf16: false
"""
MODEL = """
backbone: {model_type: llama, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 2,
           num_key_value_heads: 2, tie_word_embeddings: true}
pretrained: false
image_tokenizer: unset
report_vocabulary: 300
report_length: 16
mixture: {joint: 1, image-given: 1, report-given: 1}
warmup_steps: 5
max_steps: 400
per_device_train_batch_size: 4
logging_steps: 20
eval_steps: 200
save_steps: 20
eval_pairs: 4
eval_draws: 2
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder of real files: 24 pairs, the two recipes, a trained tokenizer."""
    root = tmp_path_factory.mktemp("world")
    (root / "pairs" / "images").mkdir(parents=True)
    lines = []
    for index in range(24):
        colour = ["red", "green", "blue"][index % 3]
        Image.new("RGB", (20, 16), colour).save(root / "pairs" / "images" / f"{index}.png")
        split = "train" if index < 16 else "val" if index < 20 else "test"
        lines.append({"id": f"s{index}", "image": f"images/{index}.png", "report": f"the square is {colour}.", "split": split})
    (root / "pairs" / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "tokenizer.yaml").write_text(TOKENIZER)
    (root / "model.yaml").write_text(MODEL)
    done = bench(root, *tokenizer_command(root, "tokenizer"))
    assert done.returncode == 0, done.stderr
    return root


def tokenizer_command(root: Path, out: str) -> list[str]:
    return ["train", "tokenizer", "--preset", "tokenizer.yaml", "--data", "./pairs", "--out", out, "--device", "cpu"]


def model_command(root: Path, out: str) -> list[str]:
    return [
        "train",
        "model",
        "--preset",
        "model.yaml",
        "--data",
        "./pairs",
        "--tokenizer",
        "tokenizer",
        "--out",
        out,
        "--device",
        "cpu",
    ]


def start(root: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "benchmark.cli", *arguments]
    return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def bench(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    process = start(root, *arguments)
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def wait_for(condition, process: subprocess.Popen, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def weights(folder: Path):
    return load_file(next(iter(folder.glob("*.safetensors"))))


def assert_same(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    assert all(equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(("command", "name"), [(tokenizer_command, "tokenizer"), (model_command, "model")])
def test_killed_at_a_random_step_and_continued_is_bit_identical(world, command, name):
    whole, killed = f"{name}-whole", f"{name}-killed"
    done = bench(world, *command(world, whole))
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        process = start(world, *command(world, killed))
        before = {path.name for path in (world / killed).glob("checkpoint-*")}
        wait_for(lambda: {p.name for p in (world / killed).glob("checkpoint-*")} - before, process)  # noqa: B023
        time.sleep(random.Random(0).random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not any((world / killed).glob("*.safetensors"))
    done = bench(world, *command(world, killed))
    assert done.returncode == 0, done.stderr
    assert_same(world / whole, world / killed)


def test_ctrl_c_saves_says_so_in_one_line_and_continues(world):
    process = start(world, *model_command(world, "interrupted"))
    wait_for(lambda: any((world / "interrupted").glob("checkpoint-*")), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.rstrip().splitlines()[-1] == "interrupted; the same command continues"
    assert bench(world, *model_command(world, "interrupted")).returncode == 0


def test_from_pairs_to_page(world):
    """The README's second example, in small: train, run, read the records; the second run generates nothing."""
    assert bench(world, *model_command(world, "paired")).returncode == 0
    arguments = ["run", "all", "--model", "paired", "--data", "./pairs", "--out", "run", "--device", "cpu"]
    first = bench(world, *arguments)
    assert first.returncode == 0, first.stderr
    records = [json.loads(line) for line in (world / "run" / "records.jsonl").read_text().splitlines()]
    tasks = {"image-generation", "report-generation", "joint-generation", "likelihood", "long-form", "memorisation"}
    assert {record["task"] for record in records} == tasks
    assert all(record["value"] is not None or record["reason"] for record in records)
    page = (world / "run" / "leaderboard" / "index.html").read_text()
    assert "the square is" in page
    before = (world / "run" / "records.jsonl").read_bytes()
    assert bench(world, *arguments).returncode == 0
    assert (world / "run" / "records.jsonl").read_bytes() == before
