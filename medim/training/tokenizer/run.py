"""What surrounds a tokenizer's training: the image cache, checkpoints, the log, Ctrl-C, the picture."""

import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import atomic_path, write_text
from medim.data.dataset import PairDataset
from medim.imaging.images import read_image, square
from medim.tokenizers.image import ImageTokenizer
from medim.training.tokenizer.round_trip import chosen
from medim.weights.files import read_state


def cached_images(dataset: PairDataset, split: str, resolution: int, limit: int, seed: int, progress: bool = False) -> Tensor:
    """Images of a split, decoded and made square once: (N, resolution, resolution, 3) uint8.

    Where a split has more than `limit`, a seeded choice without replacement, in the split's order.

    Raises:
        UserError: the split is empty, or an image cannot be read.
    """
    rows = chosen(dataset, split, limit, seed)
    cache = torch.empty(len(rows), resolution, resolution, 3, dtype=torch.uint8)
    for row, index in enumerate(tqdm(rows, desc=f"{split} images", unit="image", disable=not progress)):
        image = dataset.pair(split, int(index)).image
        image = square(image if isinstance(image, Image.Image) else read_image(image), resolution)
        cache[row] = torch.from_numpy(np.array(image.convert("RGB")))
    return cache


def refuse_other_config(path: Path, config: dict[str, Any]) -> None:
    """Raises UserError, naming the first key that differs, where `path` holds another configuration; missing is fine."""
    if not path.exists():
        return
    try:
        before = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"'{path}' is not YAML; give another folder") from error
    old, new = _flat(before), _flat(config)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            raise UserError(
                f"'{path.parent}' holds a training with {key} = {old.get(key)}, not {new.get(key)};"
                " give another folder, or the same configuration to continue"
            )


class Checkpoints:
    """Folders `checkpoint-N` in `out`, each whole or absent; the last two are kept."""

    STATE = "training_state.pt"

    def __init__(self, out: Path, keep: int = 2) -> None:
        self.out, self.keep = out, keep

    def save(self, step: int, state: dict) -> None:
        """Writes into a temporary folder, then renames it."""
        target, temporary = self.out / f"checkpoint-{step}", self.out / f".checkpoint-{step}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        torch.save(state, temporary / self.STATE)
        if target.exists():
            shutil.rmtree(target)
        os.rename(temporary, target)
        for old in self._steps()[: -self.keep]:
            shutil.rmtree(self.out / f"checkpoint-{old}")

    def newest(self) -> dict | None:
        """The state of the latest checkpoint, or None; leftovers of a kill are removed.

        Raises:
            UserError: the checkpoint cannot be read.
        """
        for leftover in self.out.glob(".checkpoint-*.tmp"):
            shutil.rmtree(leftover)
        folder = self.path()
        if folder is None:
            return None
        path = folder / self.STATE
        try:
            return read_state(path)
        except UserError as error:
            raise UserError(f"{error}; remove its folder to continue from the checkpoint before it") from error

    def path(self) -> Path | None:
        """The folder of the latest checkpoint."""
        steps = self._steps()
        return self.out / f"checkpoint-{steps[-1]}" if steps else None

    def _steps(self) -> list[int]:
        names = (re.fullmatch(r"checkpoint-(\d+)", path.name) for path in self.out.iterdir())
        return sorted(int(match[1]) for match in names if match)


class BreakdownError(Exception):
    """A loss or a weight is no number any more."""


@contextmanager
def breakdown(checkpoints: Checkpoints) -> Iterator[None]:
    """Tells of a `BreakdownError` which checkpoint is the last before it, as a UserError."""
    try:
        yield
    except BreakdownError as error:
        newest = checkpoints.path()
        kept = "no checkpoint was saved before" if newest is None else f"the last finite checkpoint is '{newest}'"
        raise UserError(
            f"the training broke down: {error}; {kept}; a lower learning_rate may help, in another --out"
        ) from error


@dataclass
class Metrics:
    """`metrics.jsonl`: one JSON object a line."""

    path: Path

    def drop_after(self, step: int) -> None:
        """Forgets what a killed run wrote after its last checkpoint, a half-written line and the final one included."""
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            row = json.loads(line) if line.endswith("}") else None
            if row is not None and row["step"] <= step and row["split"] != "final":  # that one follows the last checkpoint
                kept.append(line + "\n")
        write_text(self.path, "".join(kept))

    def add(self, step: int, split: str, **figures: float) -> None:
        line = {"step": step, "split": split} | {k: round(v, 6) for k, v in figures.items()}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C only sets the flag that the yielded function reads; the second interrupts at once."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield pressed.is_set
        return

    def handle(number: int, frame: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)


def picture(cache: Tensor, tokenizer: ImageTokenizer, path: Path, columns: int = 12, bands: int = 2) -> None:
    """Writes bands of images (N, H, W, 3), originals above reconstructions, enlarged to at least 128 pixels a tile."""
    originals = [Image.fromarray(image) for image in cache[: columns * bands].numpy()]
    rebuilt = tokenizer.reconstruct(originals)
    side, scale = tokenizer.resolution, max(1, 128 // tokenizer.resolution)
    rows = -(-len(originals) // columns)
    sheet = Image.new("RGB", (columns * side, 2 * rows * side))
    for index, (original, copy) in enumerate(zip(originals, rebuilt, strict=True)):
        left, top = index % columns * side, index // columns * 2 * side
        sheet.paste(original, (left, top))
        sheet.paste(copy, (left, top + side))
    with atomic_path(path) as temporary:
        sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST).save(temporary, format="PNG")


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(config, dict):
        return {prefix: config}
    return {
        key: value
        for name, part in config.items()
        for key, value in _flat(part, f"{prefix}.{name}" if prefix else str(name)).items()
    }
