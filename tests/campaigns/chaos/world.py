"""A tiny world of real files, and the commands that work in it as a user types them."""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[3]
SECONDS = 900
"""What any command may take before it counts as hanging."""

TOKENIZER = """
{resolution: 16, downsampling: 4, codes: 8, channels: [8, 8, 8], latent_channels: 4, steps: 40, batch_size: 4,
 quantize_start: 5, restart_every: 10, eval_every: 20, save_steps: 10, logging_steps: 5, bf16: false}
"""
MODEL = """
{backbone: {model_type: llama, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 2,
            num_key_value_heads: 2, tie_word_embeddings: true},
 pretrained: false, image_tokenizer: unset, report_vocabulary: 300, report_length: 16, warmup_steps: 5, max_steps: 120,
 mixture: {joint: 1, image-given: 1, report-given: 1}, per_device_train_batch_size: 4, logging_steps: 5, eval_steps: 40,
 save_steps: 10, eval_pairs: 4, eval_draws: 2}
"""


@dataclass(frozen=True)
class Command:
    """One of the commands: what its table row says, the folder that it fills, and its words up to the name of that folder."""

    name: str
    out: str
    words: str

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.words.split(), self.out)


COMMANDS = (
    Command("data prepare", "pairs", "data prepare folder --root src --workers 2 --out"),
    Command("train tokenizer", "tokenizer", "train tokenizer --preset tokenizer.yaml --data whole/pairs --out"),
    Command(
        "train model",
        "model",
        "train model --preset model.yaml --data whole/pairs --tokenizer whole/tokenizer --out",
    ),
    Command(
        "run",
        "run",
        "run image-generation report-generation joint-generation --model whole/model --data whole/pairs --out",
    ),
    Command(
        "export",
        "export",
        "export --model whole/model --n 48 --data whole/pairs --format r2gen --features pixels --batch-size 4 --shard-size 16 "
        "--out",
    ),
    Command(
        "run augmentation",
        "augmentation",
        "run augmentation --model phantom-tiny --data phantom:train=0.05% --preset demo --set augmentation.steps=8 "
        "--set augmentation.evaluate_every=4 --set augmentation.validation=8 --set augmentation.test=16 "
        "--set sampling.image.steps=2 --set sampling.report.steps=2 --batch-size 4 --out",
    ),
    Command(
        "ablate",
        "ablation",
        "ablate --arms full,causal-mask --preset model.yaml --data whole/pairs --tokenizer whole/tokenizer --steps 20 "
        "--limit 4 --eval-pairs 4 --draws 2 --out",
    ),
    Command("leaderboard add", "store", "leaderboard add whole/run --to"),
)
"""In an order in which each finds its inputs in `whole/`."""


@dataclass(frozen=True)
class Measured:
    """How a command ended, what it printed, and the most memory that any of its processes held."""

    status: int
    output: str
    seconds: float
    megabytes: int


class World:
    """The folder that all commands are started in; `whole/` holds what unkilled ones wrote, as inputs and for comparison."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if root.exists():
            return
        for name in ("whole", "tmp", "home"):
            (root / name).mkdir(parents=True)
        write_pairs(root / "src")
        (root / "tokenizer.yaml").write_text(TOKENIZER)
        (root / "model.yaml").write_text(MODEL)

    def environment(self, **changes: str | None) -> dict[str, str]:
        """Of a command: no network, a cache, a home and temporary files of this world; None takes a variable away."""
        path = os.pathsep.join(map(str, (REPOSITORY / "tests/offline", REPOSITORY)))
        values: dict[str, str | None] = {
            **os.environ,
            "PYTHONPATH": path,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "MEDIM_BENCH_CACHE": "cache",
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "CUDA_VISIBLE_DEVICES": "",
            **changes,
        }
        return {key: value for key, value in values.items() if value is not None}

    def start(
        self, *arguments: str, log: Path | None = None, user: int | None = None, shell: str = "", **changes: str | None
    ) -> subprocess.Popen[str]:
        """A command in a session of its own.

        Args:
            log: where all that it prints goes; pipes where None.
            user: as whom it runs, by number.
            shell: redirections, as bash spells them.
        """
        command = ["bash", "-c", f'exec "$@" {shell}', "bash", sys.executable, "-m", "benchmark.cli", *arguments]
        to = subprocess.PIPE if log is None else log.open("w")
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(**changes),
            stdin=subprocess.DEVNULL,
            stdout=to,
            stderr=to if log is None else subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )

    def call(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command to its end (see `start`); one that hangs is killed and ends with -9."""
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\nhung: killed after {SECONDS} s"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def measured(self, *arguments: str) -> Measured:
        """A command to its end, with what it took."""
        log, begun = self.root / "log", time.monotonic()
        process = self.start(*arguments, log=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begun
        return Measured(process.returncode, log.read_text(errors="replace"), seconds, used.ru_maxrss >> 10)


def write_pairs(folder: Path, count: int = 264, noise: int = 0) -> None:
    """Noise in three colours, each with a sentence: 4 of val and 8 of test, the rest of train."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for index in range(count):
        colour = ("red", "green", "blue")[index % 3]
        rng = random.Random(noise + index)
        tint = [255 * (colour == name) for name in ("red", "green", "blue")]
        pixels = bytes(rng.randrange(64) + 3 * channel // 4 for _ in range(20 * 16) for channel in tint)
        Image.frombytes("RGB", (20, 16), pixels).save(folder / "images" / f"{index}.png")
        split = "val" if index < 4 else "test" if index < 12 else "train"
        line = {"id": f"s{index}", "image": f"images/{index}.png", "report": f"the square is {colour}.", "split": split}
        lines.append(json.dumps(line) + "\n")
    (folder / "pairs.jsonl").write_text("".join(lines))
