"""Trains the two image checkers of phantom version 2: training split only, thresholds from val, accuracy on val and test.

Each trains on cases and on one counterfactual twin of each, at 64 and at 128 px, from a stretch of the split of its own.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from medim.data.phantom.image_checker_training import best_thresholds, f1_scores
from medim.data.phantom_v2.cases import Case, sample_case, twin
from medim.data.phantom_v2.image_checker import BATCH, SIDE, WEIGHTS, FindingNetV2, PhantomV2ImageChecker, to_pixels
from medim.data.phantom_v2.names import LABELS, LABELS_BY_DOMAIN, SPLIT_SIZES
from medim.data.phantom_v2.pictures import PICTURES_FINGERPRINT, draw
from medim.errors import UserError
from medim.files import atomic_path, write_json

TRAIN_BATCH = 128
LEARNING_RATE = 3e-3
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
    pixels = np.empty((len(cases), resolution, resolution, 3), np.uint8)
    targets = np.zeros((len(cases), len(LABELS)), np.float32)
    for row, case in enumerate(cases):
        pixels[row] = np.asarray(draw(case, resolution))
        targets[row, [LABELS.index(label) for label in case.labels]] = 1.0
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(targets)


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """uint8 (B, 3, R, R) -> float (B, 3, 128, 128) in [-1, 1]: gain, offset, blur, noise, a shift of up to four pixels.

    Never mirrored: sides matter. Blur and noise stand for what a tokenizer does to a picture, so that reconstructions are
    judged fairly.
    """
    count = len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand((count, 1, 1, 1), generator=generator)

    if pixels.shape[-1] != SIDE:
        pixels = nn.functional.interpolate(pixels, size=(SIDE, SIDE), mode="bicubic", antialias=True)
    images = pixels.float() / 127.5 - 1.0
    blurred = nn.functional.avg_pool2d(nn.functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.lerp(images, blurred, uniform(-0.4, 1.0).clamp(min=0.0))
    dx, dy = (int(step) for step in torch.randint(-4, 5, (2,), generator=generator))
    padded = nn.functional.pad(images, (4, 4, 4, 4), mode="replicate")
    images = padded[:, :, 4 + dy : 4 + dy + SIDE, 4 + dx : 4 + dx + SIDE]
    images = images * uniform(0.9, 1.1) + uniform(-0.06, 0.06)
    noise = torch.randn((count, 1, SIDE, SIDE), generator=generator)
    return (images + uniform(-0.03, 0.06).clamp(min=0.0) * noise).clamp(-1.0, 1.0)


def _predict(network: FindingNetV2, split: str, resolution: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth (N, 18) of the first cases of a held-out split, drawn a batch at a time."""
    rows, truth = [], []
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            cases = [sample_case(split, index) for index in range(start, min(start + BATCH, count))]
            pixels, targets = render(cases, resolution)
            if resolution != SIDE:  # as the checker itself enlarges
                pixels = to_pixels([Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).numpy()])
            rows.append(network(pixels.contiguous()).sigmoid().numpy())
            truth.append(targets.numpy() > 0.5)
    return np.concatenate(rows), np.concatenate(truth)


def _fit(network: FindingNetV2, cases: list[Case], epochs: int, generator: torch.Generator) -> None:
    # One chest, one patch and their twins at one resolution, the next four at the other.
    drawn = {
        side: render([c for row, c in enumerate(cases) if row // 4 % 2 == place], side) for place, side in enumerate(SIDES)
    }
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    size = min(len(targets) for _, targets in drawn.values())
    per_epoch = size // TRAIN_BATCH * len(SIDES)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=per_epoch * epochs, pct_start=0.15)
    for _ in range(epochs):
        orders = [torch.randperm(size, generator=generator).split(TRAIN_BATCH) for _ in SIDES]
        for step in range(per_epoch):
            (pixels, targets), order = drawn[SIDES[step % len(SIDES)]], orders[step % len(SIDES)]
            rows = order[step // len(SIDES)]
            images = augment(pixels[rows].contiguous(), generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network.classify(images)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()


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
    network = FindingNetV2(width)
    network.initialise(generator)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
    _fit(network, training_cases(start, cases, seed), epochs, generator)

    # What is measured is what is shipped: weights rounded to fp16.
    weights = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    network.load_state_dict(weights)
    network.eval()
    held = {split: min(SPLIT_SIZES[split], evaluate or SPLIT_SIZES[split]) for split in ("val", "test")}
    val = {side: _predict(network, "val", side, held["val"]) for side in SIDES}
    thresholds = best_thresholds(*(np.concatenate([val[side][part] for side in SIDES]) for part in (0, 1)))
    accuracy: dict[str, dict[str, object]] = {}
    for split, predicted in (("val", val), ("test", {side: _predict(network, "test", side, held["test"]) for side in SIDES})):
        accuracy[split] = {"n": held[split]}
        for side, (probabilities, truth) in predicted.items():
            scores = f1_scores(probabilities >= thresholds, truth)
            accuracy[split][f"{side} px"] = {
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
            "labels": list(LABELS),
            "name": name,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "seconds": round(time.perf_counter() - began, 1),
            "seed": seed,
            "synthetic": True,
            "thresholds": {label: float(t) for label, t in zip(LABELS, thresholds, strict=True)},
            "width": width,
        },
    )
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
