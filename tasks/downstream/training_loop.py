"""The loop that all downstream models share: a fixed number of steps, the best of the evaluations, continuing after a kill."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import atomic_path, write_text, writes_into
from medim.common.streams import stream
from medim.imaging.images import square
from medim.weights.files import read_state
from medim.weights.loading import fill
from tasks.downstream.contract import Example

WEIGHTS, CHECKPOINT, CURVE = "model.safetensors", "checkpoint.pt", "metrics.jsonl"
MEMORY = 1 << 30  # bytes of decoded images that are kept; more are read again whenever their turn comes
TURN, SHIFT, GAIN = np.deg2rad(5.0), 0.05, 0.1
"""Augmentation: largest rotation in radians, shift as a share of the side, relative change of brightness."""


class Learner(nn.Module, ABC):
    """A network that learns from images and targets. `visual` reads the images; it has a separate learning rate."""

    visual: nn.Module

    @abstractmethod
    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss and the number of terms, of images (B, 3, S, S) in [-1, 1] and their targets (B, ...)."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    batch_size: int = 32
    learning_rate: float = 1e-3
    visual_learning_rate: float = 1e-3  # of `Learner.visual`; `learning_rate` is of all else
    weight_decay: float = 0.01
    optimizer: Literal["adamw", "amsgrad"] = "adamw"  # `amsgrad` is Adam with AMSGrad and L2 decay, as R2Gen has it
    # `cosine` to zero after a rise over a twentieth of the steps; `step`: a tenth from the middle on, as R2Gen's 100 epochs
    # with a step at 50
    schedule: Literal["cosine", "step"] = "cosine"
    # largest `norm` of the gradient, or largest `value` of each of its elements
    clip: tuple[Literal["norm", "value"], float] = ("norm", 1.0)
    autocast: bool = False  # matrix products in bfloat16, which pays for networks wider than the tiny ones
    evaluations: int = 10  # how often validation is looked at by default


class Pictures:
    """The images of examples as uint8 of side `side`, in RGB, padded to a square (`medim.imaging.images.square`)."""

    def __init__(self, examples: Sequence[Example], side: int) -> None:
        self.examples, self.side = examples, side
        self._keeps = len(examples) * 3 * side * side <= MEMORY
        self._kept: dict[int, np.ndarray] = {}

    def rows(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Images (B, 3, side, side), float32 in [-1, 1]. Raises UserError where one cannot be read."""
        pixels = np.stack([self._pixels(int(index)) for index in indices])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    def _pixels(self, index: int) -> np.ndarray:
        if index in self._kept:
            return self._kept[index]
        pixels = np.asarray(square(self.examples[index].picture(), self.side))
        if self._keeps:
            self._kept[index] = pixels
        return pixels


class Material(NamedTuple):
    """Images with what is to be learned of them: `targets` (N, ...), a row for each picture."""

    pictures: Pictures
    targets: torch.Tensor


def augmented(images: torch.Tensor, seed: int, first: int) -> torch.Tensor:
    """Images (B, 3, H, W) in [-1, 1], each turned about its centre, shifted and brightened or darkened a little.
    Never mirrored: left and right matter. What a turn or shift brings into view repeats the edge.
    `first`: number of the first image among all that a training shows; the draws of an image depend on it and `seed` alone."""
    draws = np.stack([stream(seed, 2, first + row).uniform(-1, 1, 4) for row in range(len(images))])
    turn, gain = TURN * draws[:, 0], torch.from_numpy(1 + GAIN * draws[:, 3]).to(images)
    shift = 2 * SHIFT * draws[:, 1:3]  # of coordinates that go from -1 to 1
    cos, sin = np.cos(turn), np.sin(turn)
    affine = np.stack([np.stack([cos, -sin, shift[:, 0]], 1), np.stack([sin, cos, shift[:, 1]], 1)], 1)  # (B, 2, 3)
    grid = F.affine_grid(torch.from_numpy(affine).to(images), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return ((moved + 1) * gain[:, None, None, None] - 1).clamp_(-1, 1)


@contextmanager
def seeded(device: str, *key: int) -> Iterator[None]:
    """torch's global generators, which initialisation and dropout draw from: seeded with `key` inside, untouched outside."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.startswith("cuda") else []):
        torch.manual_seed(int(stream(*key).integers(2**62)))
        yield


def fit_network(
    network: Learner,
    train: Material,
    validation: Material,
    recipe: Recipe,
    *,
    steps: int,
    seed: int,
    out: Path,
    device: str,
    augment: bool,
    evaluate_every: int | None,
    title: str,
) -> dict[str, Any]:
    """Trains `network` in place, from the checkpoint in `out` where there is one, and writes the best weights as `WEIGHTS`.
    What step s sees, its dropout and its augmentation follow from (`seed`, s): a continued run equals one that was not stopped.
    Examples come in a new order every time all of them were seen.
    Returns, JSON-able: `best_step`, `validation_loss` (per token or label, nats) and the `curve` of the evaluations.
    Raises UserError: the loss is not finite, or an image cannot be read."""
    network.to(device)
    every = evaluate_every or max(1, math.ceil(steps / recipe.evaluations))
    optimizer = _optimizer(network, recipe)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(recipe.schedule, step, steps))
    state: dict[str, Any] = {"step": 0, "best_step": 0, "best": math.inf, "curve": []}
    if (out / CHECKPOINT).is_file():
        saved = read_state(out / CHECKPOINT)
        fill(network, saved["network"], f"checkpoint '{out / CHECKPOINT}'")
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        state = saved["state"]
    losses: list[float] = []
    for step in tqdm(range(state["step"], steps), title, initial=state["step"], total=steps, leave=False):
        losses.append(_step(network, train, recipe, optimizer, seed, step, device, augment))
        scheduler.step()
        if (step + 1) % every and step + 1 != steps:
            continue
        loss = evaluate(network, validation, recipe, device)
        _refuse_broken(losses, loss, state["step"], step + 1, out, title)
        line = {"step": step + 1, "train_loss": sum(losses) / len(losses), "validation_loss": loss}
        state = {**state, "step": step + 1, "curve": [*state["curve"], line]}
        losses = []
        with writes_into(out):
            if loss < state["best"]:
                state |= {"best": loss, "best_step": step + 1}
                with atomic_path(out / WEIGHTS) as temporary:  # clones: parameters that a network ties share their memory
                    weights = network.state_dict().items()
                    save_file({key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in weights}, temporary)
            write_text(out / CURVE, "".join(f"{json.dumps(line)}\n" for line in state["curve"]))
            with atomic_path(out / CHECKPOINT) as temporary:
                parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "scheduler": scheduler}
                torch.save({"state": state, **{name: part.state_dict() for name, part in parts.items()}}, temporary)
    return {"best_step": state["best_step"], "validation_loss": state["best"], "curve": state["curve"]}


def _refuse_broken(losses: Sequence[float], validation_loss: float, saved: int, step: int, out: Path, title: str) -> None:
    """A UserError where a loss since the checkpoint of step `saved`, or that of the validation at `step`, is not finite."""
    broken = next((at for at, loss in enumerate(losses, saved + 1) if not math.isfinite(loss)), None)
    if broken is None and math.isfinite(validation_loss):
        return
    what = f"the loss is no number at step {broken}" if broken else f"validation_loss is {validation_loss} at step {step}"
    kept = f"'{out / CHECKPOINT}' holds step {saved}" if saved else "no checkpoint was saved before"
    raise UserError(f"{title}: the training broke down: {what}; {kept}; a lower learning rate may help")


@torch.no_grad()
def evaluate(network: Learner, material: Material, recipe: Recipe, device: str) -> float:
    """Mean loss per token or label over all of the material, in nats."""
    network.eval()
    total, terms = 0.0, 0
    for rows in torch.arange(len(material.targets)).split(4 * recipe.batch_size):
        with _autocast(recipe, device):
            images, targets = material.pictures.rows(rows.numpy()).to(device), material.targets[rows].to(device)
            loss, count = network.loss(images, targets)
        total, terms = total + float(loss), terms + int(count)
    return total / terms


def rows_of_step(count: int, batch: int, seed: int, step: int) -> np.ndarray:
    """Which examples step `step` sees: `batch` places of an endless row of permutations of `count`."""
    places = np.arange(step * batch, (step + 1) * batch)
    orders = {int(turn): stream(seed, 1, int(turn)).permutation(count) for turn in np.unique(places // count)}
    return np.array([orders[int(place // count)][place % count] for place in places])


def _step(
    network: Learner,
    train: Material,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    seed: int,
    step: int,
    device: str,
    augment: bool,
) -> float:
    """One optimiser step; returns the mean loss of its batch."""
    rows = rows_of_step(len(train.targets), recipe.batch_size, seed, step)
    images, targets = train.pictures.rows(rows).to(device), train.targets[rows].to(device)
    if augment:
        images = augmented(images, seed, step * recipe.batch_size)
    network.train()
    with seeded(device, seed, 3, step), _autocast(recipe, device):
        total, count = network.loss(images, targets)
    loss = total / count
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    how, limit = recipe.clip
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    clip = torch.nn.utils.clip_grad_norm_ if how == "norm" else torch.nn.utils.clip_grad_value_
    clip(parameters, limit)
    optimizer.step()
    return float(loss.detach())


def _autocast(recipe: Recipe, device: str) -> torch.autocast:
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=recipe.autocast)


def _optimizer(network: Learner, recipe: Recipe) -> torch.optim.Optimizer:
    visual = [parameter for parameter in network.visual.parameters() if parameter.requires_grad]
    known = {id(parameter) for parameter in visual}
    rest = [parameter for parameter in network.parameters() if parameter.requires_grad and id(parameter) not in known]
    groups = [{"params": visual, "lr": recipe.visual_learning_rate}, {"params": rest, "lr": recipe.learning_rate}]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "amsgrad":
        return torch.optim.Adam(groups, weight_decay=recipe.weight_decay, amsgrad=True)
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)


def _factor(schedule: str, step: int, steps: int) -> float:
    """The learning rate at a step, relative to its highest."""
    if schedule == "step":
        return 1.0 if step < steps / 2 else 0.1
    rise = max(1, steps // 20)
    return min((step + 1) / rise, 0.5 * (1 + math.cos(math.pi * min(1.0, max(0, step - rise) / max(1, steps - rise)))))
