"""The loop that all downstream models share: a fixed number of steps, the best of the evaluations, continuing after a kill."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import atomic_path, write_text, writes_into
from medim.common.streams import stream
from medim.weights.files import read_state
from medim.weights.loading import fill
from tasks.downstream.network import Learner
from tasks.downstream.pictures import Pictures, augmented

WEIGHTS, CHECKPOINT, CURVE = "model.safetensors", "checkpoint.pt", "metrics.jsonl"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        visual_learning_rate: of `Learner.visual`; `learning_rate` is of all else.
        optimizer: `amsgrad` is Adam with AMSGrad and L2 decay, as R2Gen has it.
        schedule: `cosine` to zero after a rise over a twentieth of the steps; `step`: a tenth from the middle on, as R2Gen's
            100 epochs with a step at 50.
        clip: largest `norm` of the gradient, or largest `value` of each of its elements.
        autocast: matrix products in bfloat16, which pays for networks wider than the tiny ones.
        evaluations: how often validation is looked at, where `fit` is not told.
    """

    batch_size: int = 32
    learning_rate: float = 1e-3
    visual_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    optimizer: Literal["adamw", "amsgrad"] = "adamw"
    schedule: Literal["cosine", "step"] = "cosine"
    clip: tuple[Literal["norm", "value"], float] = ("norm", 1.0)
    autocast: bool = False
    evaluations: int = 10


@dataclass(frozen=True)
class Material:
    """Images with what is to be learned of them: `targets` (N, ...), a row for each of the pictures."""

    pictures: Pictures
    targets: torch.Tensor

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """Rows in order, `size` at a time."""
        yield from (np.arange(start, min(start + size, len(self.targets))) for start in range(0, len(self.targets), size))


@contextmanager
def own_randomness(device: str, *key: int) -> Iterator[None]:
    """torch's global generators, which initialisation and dropout draw from: seeded with `key` inside, as before outside."""
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

    What step s sees, its dropout and its augmentation follow from (`seed`, s): a continued run equals one that was not
    stopped. Examples come in a new order every time all of them were seen.

    Returns:
        JSON-able: `best_step`, `validation_loss` (per token or label, nats) and the `curve` of the evaluations.

    Raises:
        UserError: the loss is not finite, or an image cannot be read.
    """
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
    seen: list[float] = []
    for step in tqdm(range(state["step"], steps), title, initial=state["step"], total=steps, leave=False):
        seen.append(_step(network, train, recipe, optimizer, seed, step, device, augment))
        scheduler.step()
        if (step + 1) % every and step + 1 != steps:
            continue
        loss = evaluate(network, validation, recipe, device)
        broken = next((at for at, value in enumerate(seen, state["step"] + 1) if not math.isfinite(value)), None)
        if broken is not None or not math.isfinite(loss):
            what = (
                f"validation_loss is {loss} at step {step + 1}" if broken is None else f"the loss is no number at step {broken}"
            )
            kept = f"'{out / CHECKPOINT}' holds step {state['step']}" if state["step"] else "no checkpoint was saved before"
            raise UserError(f"{title}: the training broke down: {what}; {kept}; a lower learning rate may help")
        line = {"step": step + 1, "train_loss": sum(seen) / len(seen), "validation_loss": loss}
        state = {**state, "step": step + 1, "curve": [*state["curve"], line]}
        seen = []
        if loss < state["best"]:
            state |= {"best": loss, "best_step": step + 1}
            with writes_into(out), atomic_path(out / WEIGHTS) as temporary:
                weights = network.state_dict()  # copies: parameters that a network ties share their memory
                save_file(
                    {key: value.clone(memory_format=torch.contiguous_format) for key, value in weights.items()}, temporary
                )
        write_text(out / CURVE, "".join(f"{json.dumps(line)}\n" for line in state["curve"]))
        with writes_into(out), atomic_path(out / CHECKPOINT) as temporary:
            parts = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
            torch.save({"state": state, **parts}, temporary)
    return {"best_step": state["best_step"], "validation_loss": state["best"], "curve": state["curve"]}


@torch.no_grad()
def evaluate(network: Learner, material: Material, recipe: Recipe, device: str) -> float:
    """Mean loss per token or label over all of the material, in nats."""
    network.eval()
    total, terms = 0.0, 0
    for rows in material.batches(4 * recipe.batch_size):
        with _autocast(recipe, device):
            images, targets = material.pictures.rows(rows).to(device), material.targets[rows].to(device)
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
    """One optimiser step; the mean loss of its batch."""
    rows = rows_of_step(len(train.targets), recipe.batch_size, seed, step)
    images, targets = train.pictures.rows(rows).to(device), train.targets[rows].to(device)
    if augment:
        images = augmented(images, seed, step * recipe.batch_size)
    network.train()
    with own_randomness(device, seed, 3, step), _autocast(recipe, device):
        total, count = network.loss(images, targets)
    loss = total / count
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    how, limit = recipe.clip
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if how == "norm":
        torch.nn.utils.clip_grad_norm_(parameters, limit)
    else:
        torch.nn.utils.clip_grad_value_(parameters, limit)
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
