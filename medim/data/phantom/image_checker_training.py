"""Trains a phantom image checker: on the training split only, thresholds from val, accuracy stated on val and test."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from medim.data.phantom.cases import sample_case
from medim.data.phantom.dataset import FINGERPRINT, WEIGHTS, draw
from medim.data.phantom.image_checker import BATCH, RESOLUTION, FindingNet, PhantomImageChecker
from medim.data.phantom.names import LABELS, SPLIT_SIZES
from medim.errors import UserError
from medim.files import atomic_path, write_json

TRAIN_BATCH = 128
LEARNING_RATE = 3e-3


def render(split: str, start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 (N, 3, 64, 64) and labels float (N, 18) of a run of cases."""
    pixels = np.empty((count, RESOLUTION, RESOLUTION, 3), np.uint8)
    targets = np.zeros((count, len(LABELS)), np.float32)
    for row in range(count):
        case = sample_case(split, start + row)
        pixels[row] = np.asarray(draw(case, RESOLUTION))
        targets[row, [LABELS.index(label) for label in case.findings]] = 1.0
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(targets)


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """uint8 (B, 3, 64, 64) -> float in [-1, 1]: gain, offset, blur, noise, a shift of up to two pixels.

    Never mirrored: sides matter. Blur and noise stand for what a tokenizer does to a picture, so that reconstructions are
    judged fairly.
    """
    count = len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand((count, 1, 1, 1), generator=generator)

    images = pixels.float() / 127.5 - 1.0
    blurred = nn.functional.avg_pool2d(nn.functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.lerp(images, blurred, uniform(-0.4, 1.0).clamp(min=0.0))
    dx, dy = (int(step) for step in torch.randint(-2, 3, (2,), generator=generator))
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    images = padded[:, :, 2 + dy : 2 + dy + RESOLUTION, 2 + dx : 2 + dx + RESOLUTION]
    images = images * uniform(0.9, 1.1) + uniform(-0.06, 0.06)
    noise = torch.randn(images.shape, generator=generator)
    return (images + uniform(-0.02, 0.07).clamp(min=0.0) * noise).clamp(-1.0, 1.0)


def f1_scores(present: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """F1 per label from boolean arrays (N, labels); 0 where a label is neither present nor predicted."""
    hits = (present & truth).sum(axis=0)
    return 2 * hits / np.maximum(present.sum(axis=0) + truth.sum(axis=0), 1)


def best_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Per label the middle of the thresholds (0.05, 0.06, ..., 0.95) that reach the best F1."""
    grid = np.round(np.arange(0.05, 0.951, 0.01), 2)
    scores = np.stack([f1_scores(probabilities >= threshold, truth) for threshold in grid])  # (thresholds, labels)
    return np.array([np.round(np.median(grid[column >= column.max() - 1e-12]), 3) for column in scores.T])


def _probabilities(network: FindingNet, pixels: torch.Tensor) -> np.ndarray:
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
    network = FindingNet(width)
    network.initialise(generator)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    steps = pairs // TRAIN_BATCH * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.15)
    for _ in range(epochs):
        order = torch.randperm(pairs, generator=generator)
        for rows in order[: pairs // TRAIN_BATCH * TRAIN_BATCH].split(TRAIN_BATCH):
            images = augment(pixels[rows], generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network.classify(images)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()

    # What is measured is what is shipped: weights rounded to fp16.
    weights = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    network.load_state_dict(weights)
    network.eval()
    thresholds = np.full(len(LABELS), 0.5)
    accuracy: dict[str, object] = {}
    for split in ("val", "test"):
        held_pixels, held_targets = render(split, 0, min(SPLIT_SIZES[split], evaluate or SPLIT_SIZES[split]))
        probabilities, truth = _probabilities(network, held_pixels), held_targets.numpy() > 0.5
        if split == "val":
            thresholds = best_thresholds(probabilities, truth)
        scores = f1_scores(probabilities >= thresholds, truth)
        accuracy[split] = {
            "n": len(truth),
            "macro_f1": round(float(scores.mean()), 4),
            "f1": {label: round(float(score), 4) for label, score in zip(LABELS, scores, strict=True)},
        }
    out = Path(out)
    with atomic_path(out) as temporary:
        save_file({key: value.contiguous() for key, value in weights.items()}, temporary)
    write_json(
        out.with_suffix(".json"),
        {
            "accuracy": accuracy,
            "data": {"name": "phantom", "fingerprint": FINGERPRINT, "split": "train", "start": start, "pairs": pairs},
            "epochs": epochs,
            "labels": list(LABELS),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "seconds": round(time.perf_counter() - began, 1),
            "seed": seed,
            "synthetic": True,
            "thresholds": {label: float(t) for label, t in zip(LABELS, thresholds, strict=True)},
            "width": width,
        },
    )
    return PhantomImageChecker.load(out)


# The two that are shipped share no training case: one may steer what the other scores.
RECIPES: dict[str, dict[str, int]] = {
    "score": {"pairs": 16_384, "epochs": 8, "seed": 0, "width": 32, "start": 0},
    "steer": {"pairs": 8_192, "epochs": 6, "seed": 1, "width": 24, "start": 16_384},
}

if __name__ == "__main__":
    for role in sys.argv[1:] or RECIPES:
        print(role, train_image_checker(WEIGHTS / f"image_checker_{role}.safetensors", **RECIPES[role]).accuracy)
