"""Trains the image checkers of a phantom: training split only, thresholds from val, accuracy on val and test as shipped."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from medim.common.errors import UserError
from medim.common.files import atomic_path, write_json
from medim.data.phantom.checkers import CheckerDesign
from medim.data.phantom.dataset import Phantom
from medim.data.phantom.image_checker import BATCH, FindingNet, ImageChecker, to_pixels
from medim.data.phantom.labels import LABELS
from medim.data.phantom.worlds import WORLDS
from medim.weights.loading import first_broken

TRAIN_BATCH = 128
LEARNING_RATE = 3e-3


def train_image_checker(
    world: type[Phantom],
    out: Path,
    *,
    cases: int,
    start: int,
    epochs: int,
    seed: int,
    width: int,
    name: str | None = None,
    evaluate: int | None = None,
) -> ImageChecker:
    """Trains a checker and writes `out` (safetensors, fp16) and its card (`.json`): thresholds, accuracy, data, recipe.
    `cases`, `start`: which stretch of the training split is used.
    `epochs`: passes over it.
    `width`: channels of the network's first stage.
    `name`: what it is called in signatures, where the design has no name.
    `evaluate`: cases of val and of test that are used (all by default).
    Raises UserError: the stretch leaves the training split, or holds less than one batch; the training broke down."""
    design, size = world.design, world.cohort.sizes["train"]
    if start < 0 or cases < TRAIN_BATCH or start + cases > size:
        raise UserError(f"image checker: cases {start}..{start + cases} must be at least {TRAIN_BATCH} within 0..{size}")
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    network = FindingNet(design, width)
    network.initialise(generator)
    shown = world.training_cases(start, cases, seed)
    # The same domains at every resolution: four cases (chests and patches, and where there are any, their twins) in a row.
    drawn = [
        render(world, [case for row, case in enumerate(shown) if row // 4 % len(design.resolutions) == place], resolution)
        for place, resolution in enumerate(design.resolutions)
    ]
    fit(network, batches(drawn, design, epochs, generator), epochs * steps_per_epoch(drawn))
    weights = round_weights(network)
    held = {split: min(world.cohort.sizes[split], evaluate or world.cohort.sizes[split]) for split in ("val", "test")}
    read = {
        split: {resolution: predict(world, network, split, resolution, count) for resolution in design.resolutions}
        for split, count in held.items()
    }
    thresholds = best_thresholds(*(np.concatenate([part[place] for part in read["val"].values()]) for place in (0, 1)))
    reached: dict[str, dict[str, Any]] = {}
    for split, parts in read.items():
        by_resolution = {f"{resolution} px": accuracy(*part, thresholds, LABELS) for resolution, part in parts.items()}
        figures = by_resolution if len(parts) > 1 else next(iter(by_resolution.values()))
        reached[split] = {"n": held[split], **figures}
    card = {
        "accuracy": reached,
        "data": {
            "name": world.name,
            "pictures": world.pictures,
            "split": "train",
            "start": start,
            "cases": cases,
            "twins": len(shown) - cases,
            "resolutions": list(design.resolutions),
        },
        "epochs": epochs,
        "seconds": round(time.perf_counter() - began, 1),
        "seed": seed,
        **({} if name is None else {"name": name}),
    }
    write_checker(Path(out), network, weights, thresholds, card)
    return ImageChecker.load(out, design)


def render(world: type[Phantom], cases: Sequence[Any], resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 (N, 3, R, R) and labels float (N, 18) of the cases."""
    pixels = np.empty((len(cases), resolution, resolution, 3), np.uint8)
    targets = np.zeros((len(cases), len(LABELS)), np.float32)
    for row, case in enumerate(cases):
        pixels[row] = np.asarray(world.draw(case, resolution))
        targets[row, [LABELS.index(label) for label in case.labels]] = 1.0
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(targets)


def steps_per_epoch(drawn: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> int:
    return min(len(targets) for _, targets in drawn) // TRAIN_BATCH * len(drawn)


def batches(
    drawn: Sequence[tuple[torch.Tensor, torch.Tensor]], design: CheckerDesign, epochs: int, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Augmented images and their labels, the parts in turn."""
    size = min(len(targets) for _, targets in drawn)
    for _ in range(epochs):
        orders = [torch.randperm(size, generator=generator).split(TRAIN_BATCH) for _ in drawn]
        for step in range(steps_per_epoch(drawn)):
            part = step % len(drawn)
            rows = orders[part][step // len(drawn)]
            pixels, targets = drawn[part]
            yield augmented(pixels[rows], design, generator), targets[rows]


def predict(
    world: type[Phantom], network: FindingNet, split: str, resolution: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth (N, 18) of the first cases of a held-out split, drawn a batch at a time."""
    rows, truth = [], []
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            cases = [world.case(split, index) for index in range(start, min(start + BATCH, count))]
            pixels, targets = render(world, cases, resolution)
            if resolution != world.design.side:  # as the checker itself enlarges
                images = [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).numpy()]
                pixels = to_pixels(images, world.design.side)
            rows.append(network(pixels).sigmoid().numpy())
            truth.append(targets.numpy() > 0.5)
    return np.concatenate(rows), np.concatenate(truth)


def augmented(pixels: torch.Tensor, design: CheckerDesign, generator: torch.Generator) -> torch.Tensor:
    """uint8 (B, 3, R, R) -> float (B, 3, side, side) in [-1, 1]: blur, a shift, gain, offset and noise. Never mirrored: sides
    matter. Blur and noise stand for what a tokenizer does to a picture, so that reconstructions are judged fairly."""
    side, shift = design.side, design.shift
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
    grain = torch.randn((count, 1 if design.grey else 3, side, side), generator=generator)
    return (images + uniform(*design.noise).clamp(min=0.0) * grain).clamp(-1.0, 1.0)


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
    out: Path, network: FindingNet, weights: dict[str, torch.Tensor], thresholds: np.ndarray, fields: dict[str, Any]
) -> None:
    """Writes `out` (safetensors) and its card, the JSON file of the same stem: thresholds, size, and the fields.
    Raises UserError: a weight is no number, also where it is too large for fp16."""
    if (name := first_broken(weights)) is not None:
        raise UserError(f"the training of the image checker broke down: weight {name} is NaN or infinite")
    with atomic_path(out) as temporary:
        save_file({key: value.contiguous() for key, value in weights.items()}, temporary)
    card = {
        "labels": list(LABELS),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "synthetic": True,
        "thresholds": {label: float(t) for label, t in zip(LABELS, thresholds, strict=True)},
        "width": network.width,
    }
    write_json(out.with_suffix(".json"), {**card, **fields})


def train_shipped(world: type[Phantom], role: str) -> ImageChecker:
    """Trains and writes the shipped checker of a role, `score` or `steer`."""
    name = None if world.design.name else f"{world.name}-image-checker-{role}"
    return train_image_checker(world, world.checker_path(role), name=name, **world.design.recipes[role])


if __name__ == "__main__":
    for world in map(WORLDS.__getitem__, sys.argv[1:] or WORLDS):
        for role in world.design.recipes:
            print(world.name, role, train_shipped(world, role).accuracy["test"])
