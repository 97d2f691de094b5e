"""Trains the two image checkers of phantom version 2: training split only, thresholds from val, accuracy on val and test.

Each trains on cases and on one counterfactual twin of each, at 64 and at 128 px, from a stretch of the split of its own.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.data.image_checker import BATCH, to_pixels
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
from medim.data.phantom.v2.cases import Case, sample_case, twin
from medim.data.phantom.v2.dataset import WEIGHTS
from medim.data.phantom.v2.drawing.pictures import PICTURES_FINGERPRINT, draw
from medim.data.phantom.v2.names import LABELS, LABELS_BY_DOMAIN, SPLIT_SIZES
from medim.data.phantom.v2.reading.image_checker import PhantomV2ImageChecker, PhantomV2Net

SIDE = PhantomV2Net.side
HARD = ("left nodule", "right nodule", "lymphocytic infiltrate")  # small things among others like them
SIDES = (64, 128)  # the resolutions it is trained and measured at


def some_twin(case: Case, rng: np.random.Generator) -> Case:
    """A twin of the case by a label at random, hard ones more often; by another where the picture has no room for that one."""
    labels = LABELS_BY_DOMAIN[case.domain]
    weights = np.array([3.0 if label in HARD else 1.0 for label in labels])
    for position in rng.choice(len(labels), len(labels), replace=False, p=weights / weights.sum()):
        try:
            return twin(case, labels[int(position)])
        except UserError:  # no room: the next label
            continue
    return case


def training_cases(start: int, count: int, seed: int) -> list[Case]:
    """`count` cases from `start` of the training split, each followed by a twin."""
    rng = np.random.default_rng([seed, start])
    originals = (sample_case("train", index) for index in range(start, start + count))
    return [case for original in originals for case in (original, some_twin(original, rng))]


def render(cases: list[Case], resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 (N, 3, R, R) and labels float (N, 18) of the cases."""
    return rendered(((draw(case, resolution), case.labels) for case in cases), len(cases), resolution, LABELS)


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """uint8 (B, 3, R, R) -> float (B, 3, 128, 128) in [-1, 1], never mirrored."""
    return augmented(pixels, generator, SIDE, shift=4, noise=(-0.03, 0.06), grey=True)


def _predict(network: PhantomV2Net, split: str, resolution: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth (N, 18) of the first cases of a held-out split, drawn a batch at a time."""
    rows, truth = [], []
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            cases = [sample_case(split, index) for index in range(start, min(start + BATCH, count))]
            pixels, targets = render(cases, resolution)
            if resolution != SIDE:  # as the checker itself enlarges
                pixels = to_pixels([Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).numpy()], SIDE)
            rows.append(network(pixels).sigmoid().numpy())
            truth.append(targets.numpy() > 0.5)
    return np.concatenate(rows), np.concatenate(truth)


def _fit(network: PhantomV2Net, cases: list[Case], epochs: int, generator: torch.Generator) -> None:
    # One chest, one patch and their twins at one resolution, the next four at the other.
    drawn = {
        side: render([c for row, c in enumerate(cases) if row // 4 % 2 == place], side) for place, side in enumerate(SIDES)
    }
    size = min(len(targets) for _, targets in drawn.values())
    per_epoch = size // TRAIN_BATCH * len(SIDES)

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(epochs):
            orders = [torch.randperm(size, generator=generator).split(TRAIN_BATCH) for _ in SIDES]
            for step in range(per_epoch):
                (pixels, targets), order = drawn[SIDES[step % len(SIDES)]], orders[step % len(SIDES)]
                rows = order[step // len(SIDES)]
                yield augment(pixels[rows], generator), targets[rows]

    fit(network, batches(), per_epoch * epochs)


def train_image_checker(
    out: Path,
    name: str,
    cases: int,
    epochs: int,
    seed: int,
    width: int,
    start: int,
    evaluate: int | None = None,
) -> PhantomV2ImageChecker:
    """Trains a checker and writes `out` (safetensors, fp16) and its card (`.json`): thresholds, accuracy, data, recipe.

    Two checkers trained with disjoint stretches and different seeds and widths share no training image: one may steer what
    the other scores.

    Args:
        out: file of the weights, `.safetensors`.
        name: what it is called in signatures.
        cases, start: which stretch of the training split is used; each case comes with a twin.
        epochs: passes over cases and twins.
        width: channels of the network's first stage.
        evaluate: cases of val and of test that are used (all by default).

    Raises:
        UserError: the stretch leaves the training split, or holds less than one batch.
    """
    size = SPLIT_SIZES["train"]
    if start < 0 or cases < TRAIN_BATCH or start + cases > size:
        raise UserError(f"image checker: cases {start}..{start + cases} must be at least {TRAIN_BATCH} within 0..{size}")
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    network = PhantomV2Net(width, len(LABELS))
    network.initialise(generator)
    _fit(network, training_cases(start, cases, seed), epochs, generator)
    weights = round_weights(network)
    held = {split: min(SPLIT_SIZES[split], evaluate or SPLIT_SIZES[split]) for split in ("val", "test")}
    val = {side: _predict(network, "val", side, held["val"]) for side in SIDES}
    thresholds = best_thresholds(*(np.concatenate([val[side][part] for side in SIDES]) for part in (0, 1)))
    reached: dict[str, dict[str, object]] = {}
    for split, predicted in (("val", val), ("test", {side: _predict(network, "test", side, held["test"]) for side in SIDES})):
        by_side = {f"{side} px": accuracy(*seen, thresholds, LABELS) for side, seen in predicted.items()}
        reached[split] = {"n": held[split], **by_side}
    out = Path(out)
    told = {
        "accuracy": reached,
        "data": {
            "name": "phantom-v2",
            "pictures": PICTURES_FINGERPRINT,
            "split": "train",
            "start": start,
            "cases": cases,
            "twins": cases,
            "resolutions": list(SIDES),
        },
        "epochs": epochs,
        "name": name,
        "seconds": round(time.perf_counter() - began, 1),
        "seed": seed,
    }
    write_checker(out, network, weights, thresholds, LABELS, told)
    return PhantomV2ImageChecker.load(out)


RECIPES: dict[str, dict[str, int]] = {
    "score": {"cases": 14_336, "epochs": 6, "seed": 0, "width": 16, "start": 0},
    "steer": {"cases": 6_144, "epochs": 7, "seed": 1, "width": 12, "start": 131_072},
}


def train_shipped(role: str) -> PhantomV2ImageChecker:
    """Trains and writes the shipped checker of a role, `score` or `steer`."""
    out = WEIGHTS / f"image_checker_{role}.safetensors"
    return train_image_checker(out, f"phantom-v2-image-checker-{role}", **RECIPES[role])


if __name__ == "__main__":
    for role in sys.argv[1:] or RECIPES:
        test = train_shipped(role).accuracy["test"]
        print(role, {side: test[f"{side} px"]["macro_f1"] for side in SIDES})
