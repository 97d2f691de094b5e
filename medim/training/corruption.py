"""The noise of training draw k: which task, which times, which tokens are masked.
A function of (seed, k) alone: the same run on one process or eight, killed and resumed or not, sees the same noise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from medim.canvas import MODALITIES, Layout
from medim.common.streams import GOLDEN, stream
from medim.diffusion.schedule import SMALLEST_T, LogLinear, Schedule
from medim.diffusion.transition import transition

JOINT = {"joint": 1.0}
TIMES: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "joint": lambda t, _: (t, t),
    "independent": lambda t, other: (t, other),
    "image-given": lambda t, _: (0.0, t),
    "report-given": lambda t, _: (t, 0.0),
    "image-masked": lambda t, _: (1.0, t),  # condition dropout
    "report-masked": lambda t, _: (t, 1.0),  # condition dropout
    "prompted": lambda t, _: (t, t),  # the first sentence of the report stays clean
}
"""(t_image, t_report) of each training task, from two times."""


def task_at(mixture: Mapping[str, float], u: float) -> str:
    """The task at u in [0, 1) of a mixture: how often each occurs, relative to the others."""
    names, weights = zip(*mixture.items(), strict=True)
    edges = np.cumsum(weights) / np.sum(weights)
    return names[min(int(np.searchsorted(edges, u, side="right")), len(names) - 1)]


@dataclass(frozen=True)
class Corrupted:
    """A training draw after noise."""

    noisy: torch.Tensor  # x_t, shape (L,)
    t: torch.Tensor  # time of each modality, shape (2,)
    # positions of the loss, shape (L,): where noise may have struck; for absorbing noise, where MASK stands
    noised: torch.Tensor


def corrupt(
    tokens: torch.Tensor,
    prompt: int,
    layout: Layout,
    mixture: Mapping[str, float],
    seed: int,
    k: int,
    schedule: Schedule | None = None,
    process: str = "absorbing",
) -> Corrupted:
    """The noise of draw k. `tokens`: x, one complete sequence of shape (L,). `prompt`: number of report tokens in the first
    sentence; clean in the task `prompted`. `mixture`: as of `task_at`. `schedule`: log-linear where None. `process`: a name of
    `medim.diffusion.transition.TRANSITIONS`."""
    random = stream(seed, 1, k)
    offset = stream(seed, 2).random()
    task = task_at(mixture, random.random())
    times = ((offset + k * GOLDEN) % 1.0, random.random())
    t = torch.tensor(TIMES[task](*(SMALLEST_T + (1 - SMALLEST_T) * u for u in times)))
    level = (schedule or LogLinear()).noise(t)
    uniform = torch.from_numpy(random.random(layout.length))
    noisy, noised = tokens.clone(), torch.zeros(layout.length, dtype=torch.bool)
    for column, modality in enumerate(MODALITIES):
        where, noise = layout.of(modality), transition(process, layout.size(modality))
        clean = layout.states(tokens[where], modality)
        z = noise.corrupt(clean, 1 - level[column], uniform[where])
        free = torch.full(z.shape, bool(t[column] > 0))
        if task == "prompted" and modality == "report":
            z[:prompt], free[:prompt] = clean[:prompt], False
        noisy[where] = layout.ids(z, modality)
        noised[where] = free if noise.uniform else z == noise.mask
    return Corrupted(noisy, t, noised)
