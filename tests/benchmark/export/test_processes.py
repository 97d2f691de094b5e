"""The same seed gives the same pairs from the public command, whether one process draws them or two share the work."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

COMMAND = (
    "benchmark.cli",
    "export",
    "--model",
    "phantom-tiny",
    "--n",
    "6",
    "--data",
    "phantom",
    "--allow",
    "unscreened",
    "--format",
    "folder",
    "--draws",
    "0",
    "--shard-size",
    "2",
    "--seed",
    "5",
    "--device",
    "cpu",
    "--set",
    "sampling.image.steps=4",
    "--set",
    "sampling.report.steps=6",
)


def exported(out, *launcher, batch_size):
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    command = [sys.executable, *(launcher or ("-m",)), *COMMAND, "--batch-size", str(batch_size), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment | {"OMP_NUM_THREADS": "1"}, timeout=900)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    return [
        (line["id"], line["seed"], line["report"], hashlib.sha256((out / line["image"]).read_bytes()).hexdigest())
        for line in lines
    ]


@pytest.mark.slow
def test_one_process_and_two_give_the_same_pairs(tmp_path):
    alone = exported(tmp_path / "one", batch_size=2)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "--")  # or it takes --n for its own
    shared = exported(tmp_path / "two", *torchrun, batch_size=1)
    assert len(alone) == len({picture for *_, picture in alone}) == 6
    assert shared == alone
