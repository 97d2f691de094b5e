"""Training an image checker: augmentation, steps, thresholds from val, accuracy as shipped."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from medim.common.errors import UserError
from medim.common.files import atomic_path, write_json
from medim.data.image_checker import FindingNet
from medim.weights.loading import first_broken

TRAIN_BATCH = 128
LEARNING_RATE = 3e-3


def rendered(
    drawn: Iterable[tuple[Image.Image, Iterable[str]]], count: int, side: int, labels: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 (N, 3, side, side) and targets float (N, labels) of `count` pictures and their labels, one at a time."""
    pixels = np.empty((count, side, side, 3), np.uint8)
    targets = np.zeros((count, len(labels)), np.float32)
    for row, (picture, present) in enumerate(drawn):
        pixels[row] = np.asarray(picture)
        targets[row, [labels.index(label) for label in present]] = 1.0
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(targets)


def augmented(
    pixels: torch.Tensor,
    generator: torch.Generator,
    side: int,
    shift: int,
    noise: tuple[float, float],
    grey: bool,
) -> torch.Tensor:
    """uint8 (B, 3, R, R) -> float (B, 3, side, side) in [-1, 1]: blur, a shift, gain, offset and noise.

    Never mirrored: sides matter. Blur and noise stand for what a tokenizer does to a picture, so that reconstructions are
    judged fairly.

    Args:
        shift: largest, in pixels.
        noise: range of its standard deviation, below zero for none.
        grey: the same noise in each channel.
    """
    count = len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand((count, 1, 1, 1), generator=generator)

    if pixels.shape[-1] != side:
        pixels = nn.functional.interpolate(pixels, size=(side, side), mode="bicubic", antialias=True)
    images = pixels.float() / 127.5 - 1.0
    blurred = nn.functional.avg_pool2d(nn.functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.lerp(images, blurred, uniform(-0.4, 1.0).clamp(min=0.0))
    dx, dy = (int(step) for step in torch.randint(-shift, shift + 1, (2,), generator=generator))
    padded = nn.functional.pad(images, (shift,) * 4, mode="replicate")
    images = padded[:, :, shift + dy : shift + dy + side, shift + dx : shift + dx + side]
    images = images * uniform(0.9, 1.1) + uniform(-0.06, 0.06)
    grain = torch.randn((count, 1 if grey else 3, side, side), generator=generator)
    return (images + uniform(*noise).clamp(min=0.0) * grain).clamp(-1.0, 1.0)


def fit(network: FindingNet, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], steps: int) -> None:
    """AdamW on binary cross-entropy over `steps` batches of images in [-1, 1] and targets, under one cycle of the rate."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.15)
    for step, (images, targets) in enumerate(batches, 1):
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.classify(images.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets)
        if not bool(loss.isfinite()):
            raise UserError(f"the training of the image checker broke down: the loss is {loss.item()} at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


def round_weights(network: FindingNet) -> dict[str, torch.Tensor]:
    """Rounds the weights to fp16, so that what is measured is what is shipped; returns them as they go to disk."""
    weights = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    network.load_state_dict(weights)
    network.eval()
    return weights


def f1_scores(present: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """F1 per label from boolean arrays (N, labels); 0 where a label is neither present nor predicted."""
    hits = (present & truth).sum(axis=0)
    return 2 * hits / np.maximum(present.sum(axis=0) + truth.sum(axis=0), 1)


def best_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Per label the middle of the thresholds (0.05, 0.06, ..., 0.95) that reach the best F1."""
    grid = np.round(np.arange(0.05, 0.951, 0.01), 2)
    scores = np.stack([f1_scores(probabilities >= threshold, truth) for threshold in grid])  # (thresholds, labels)
    return np.array([np.round(np.median(grid[column >= column.max() - 1e-12]), 3) for column in scores.T])


def accuracy(probabilities: np.ndarray, truth: np.ndarray, thresholds: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """F1 of each label and their mean, as a card tells them."""
    scores = f1_scores(probabilities >= thresholds, truth)
    f1 = {label: round(float(score), 4) for label, score in zip(labels, scores, strict=True)}
    return {"macro_f1": round(float(scores.mean()), 4), "f1": f1}


def write_checker(
    out: Path,
    network: FindingNet,
    weights: Mapping[str, torch.Tensor],
    thresholds: np.ndarray,
    labels: Sequence[str],
    told: Mapping[str, Any],
) -> None:
    """Writes `out` (safetensors) and its card, the JSON file of the same stem: thresholds, size, and what is `told`.

    Raises:
        UserError: a weight is no number, also where it is too large for fp16.
    """
    if (name := first_broken(weights)) is not None:
        raise UserError(f"the training of the image checker broke down: weight {name} is NaN or infinite")
    with atomic_path(out) as temporary:
        save_file({key: value.contiguous() for key, value in weights.items()}, temporary)
    card = {
        "labels": list(labels),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "synthetic": True,
        "thresholds": {label: float(t) for label, t in zip(labels, thresholds, strict=True)},
        "width": network.width,
    }
    write_json(out.with_suffix(".json"), {**card, **told})
