"""Trains a phantom image checker: on the training split only, thresholds from val, accuracy stated on val and test."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from medim.common.errors import UserError
from medim.data.image_checker import BATCH
from medim.data.image_checker_training import (
    TRAIN_BATCH,
    accuracy,
    augmented,
    best_thresholds,
    fit,
    rendered,
    round_weights,
    write_checker,
)
from medim.data.phantom.v1.cases import sample_case
from medim.data.phantom.v1.dataset import FINGERPRINT, WEIGHTS, draw
from medim.data.phantom.v1.image_checker import PhantomImageChecker, PhantomNet
from medim.data.phantom.v1.names import LABELS, SPLIT_SIZES

SIDE = PhantomNet.side


def render(split: str, start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 (N, 3, 64, 64) and labels float (N, 18) of a run of cases."""
    cases = (sample_case(split, index) for index in range(start, start + count))
    return rendered(((draw(case, SIDE), case.findings) for case in cases), count, SIDE, LABELS)


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """uint8 (B, 3, 64, 64) -> float in [-1, 1], never mirrored."""
    return augmented(pixels, generator, SIDE, shift=2, noise=(-0.02, 0.07), grey=False)


def _probabilities(network: PhantomNet, pixels: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([network(part) for part in pixels.split(BATCH)]).sigmoid().numpy()


def train_image_checker(
    out: Path,
    pairs: int = 16_384,
    epochs: int = 8,
    seed: int = 0,
    width: int = 32,
    start: int = 0,
    evaluate: int | None = None,
) -> PhantomImageChecker:
    """Trains a checker and writes `out` (safetensors, fp16) and its card (`.json`): thresholds, accuracy, data, recipe.

    Two checkers trained with disjoint ranges, `start` and `pairs`, and different seeds share no training image: one may
    steer what the other scores.

    Args:
        out: file of the weights, `.safetensors`.
        pairs, start: which stretch of the training split is used.
        epochs: passes over it.
        width: channels of the network's first stage.
        evaluate: cases of val and of test that are used (all by default).

    Raises:
        UserError: the stretch leaves the training split, or holds less than one batch.
    """
    size = SPLIT_SIZES["train"]
    if start < 0 or pairs < TRAIN_BATCH or start + pairs > size:
        raise UserError(f"image checker: pairs {start}..{start + pairs} must be at least {TRAIN_BATCH} within 0..{size}")
    began = time.perf_counter()
    pixels, targets = render("train", start, pairs)
    generator = torch.Generator().manual_seed(seed)
    network = PhantomNet(width, len(LABELS))
    network.initialise(generator)
    steps = pairs // TRAIN_BATCH

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(epochs):
            order = torch.randperm(pairs, generator=generator)
            for rows in order[: steps * TRAIN_BATCH].split(TRAIN_BATCH):
                yield augment(pixels[rows], generator), targets[rows]

    fit(network, batches(), steps * epochs)
    weights = round_weights(network)
    thresholds = np.full(len(LABELS), 0.5)
    reached: dict[str, object] = {}
    for split in ("val", "test"):
        held_pixels, held_targets = render(split, 0, min(SPLIT_SIZES[split], evaluate or SPLIT_SIZES[split]))
        probabilities, truth = _probabilities(network, held_pixels), held_targets.numpy() > 0.5
        if split == "val":
            thresholds = best_thresholds(probabilities, truth)
        reached[split] = {"n": len(truth), **accuracy(probabilities, truth, thresholds, LABELS)}
    out = Path(out)
    told = {
        "accuracy": reached,
        "data": {"name": "phantom", "fingerprint": FINGERPRINT, "split": "train", "start": start, "pairs": pairs},
        "epochs": epochs,
        "seconds": round(time.perf_counter() - began, 1),
        "seed": seed,
    }
    write_checker(out, network, weights, thresholds, LABELS, told)
    return PhantomImageChecker.load(out)


# The two that are shipped share no training case: one may steer what the other scores.
RECIPES: dict[str, dict[str, int]] = {
    "score": {"pairs": 16_384, "epochs": 8, "seed": 0, "width": 32, "start": 0},
    "steer": {"pairs": 8_192, "epochs": 6, "seed": 1, "width": 24, "start": 16_384},
}

if __name__ == "__main__":
    for role in sys.argv[1:] or RECIPES:
        print(role, train_image_checker(WEIGHTS / f"image_checker_{role}.safetensors", **RECIPES[role]).accuracy)
