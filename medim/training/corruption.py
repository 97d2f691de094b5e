"""What the model sees at training draw k: which sample, which task, which times, which tokens are masked.

Everything is a function of (seed, k) alone. The same run on one process or eight, killed and continued or not, sees
the same noise (DESIGN section 2, point 6).
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from medim.canvas import MODALITIES, Layout
from medim.common.errors import UserError, unknown
from medim.common.streams import GOLDEN, stream
from medim.diffusion.schedule import SMALLEST_T, LogLinear, Schedule
from medim.diffusion.transition import transition

MODES = {
    "joint": "one time for both modalities",
    "independent": "a time for each modality",
    "image-given": "the image is clean, the report noised",
    "report-given": "the report is clean, the image noised",
    "image-masked": "the image is all masked, the report noised (condition dropout)",
    "report-masked": "the report is all masked, the image noised (condition dropout)",
    "prompted": "the report's first sentence is clean, the rest is noised jointly with the image",
}


@dataclass(frozen=True)
class Mixture:
    """How often each task occurs in training; weights need not sum to one."""

    weights: dict[str, float] = field(default_factory=lambda: {"joint": 1.0})

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in MODES:
                raise unknown("training task in the mixture", name, MODES)
            if weight < 0:
                raise UserError(f"mixture: the weight of '{name}' is negative")
        if sum(self.weights.values()) <= 0:
            raise UserError("mixture: no task has a positive weight")

    def pick(self, u: float) -> str:
        """The task at u in [0, 1)."""
        names, weights = zip(*self.weights.items(), strict=True)
        edges = np.cumsum(weights) / np.sum(weights)
        return names[min(int(np.searchsorted(edges, u, side="right")), len(names) - 1)]


def sample_at(seed: int, k: int, samples: int) -> int:
    """Index of the sample at draw k: a fresh permutation of all samples each epoch."""
    epoch, position = divmod(k, samples)
    return _permutation(seed, epoch, samples)[position]


_PERMUTATIONS: dict[tuple[int, int, int], np.ndarray] = {}


def _permutation(seed: int, epoch: int, samples: int) -> np.ndarray:
    key = (seed, epoch, samples)
    if key not in _PERMUTATIONS:
        if len(_PERMUTATIONS) > 2:
            _PERMUTATIONS.clear()
        _PERMUTATIONS[key] = stream(seed, 0, epoch).permutation(samples)
    return _PERMUTATIONS[key]


def times(mode: str, u: float, v: float) -> tuple[float, float]:
    """(t_image, t_report) of a task for u, v in [0, 1)."""
    t, other = SMALLEST_T + (1 - SMALLEST_T) * u, SMALLEST_T + (1 - SMALLEST_T) * v
    return {
        "joint": (t, t),
        "independent": (t, other),
        "image-given": (0.0, t),
        "report-given": (t, 0.0),
        "image-masked": (1.0, t),
        "report-masked": (t, 1.0),
        "prompted": (t, t),
    }[mode]


@dataclass(frozen=True)
class Corrupted:
    """A training draw after noise.

    Attributes:
        noisy: x_t, shape (L,).
        t: time of each modality, shape (2,).
        noised: True where noise may have struck and the model is asked, shape (L,); for absorbing noise, where MASK stands.
    """

    noisy: torch.Tensor
    t: torch.Tensor
    noised: torch.Tensor


def corrupt(
    tokens: torch.Tensor,
    prompt: int,
    layout: Layout,
    mixture: Mixture,
    seed: int,
    k: int,
    schedule: Schedule | None = None,
    process: str = "absorbing",
) -> Corrupted:
    """The noise of draw k.

    Args:
        tokens: x, one complete sequence of shape (L,).
        prompt: number of report tokens in the first sentence; kept clean by the task `prompted`.
        layout: where each modality stands.
        mixture: which tasks occur how often.
        schedule: log-linear where None.
        process: a name of `medim.diffusion.transition.TRANSITIONS`.
    """
    random = stream(seed, 1, k)
    offset = stream(seed, 2).random()
    mode = mixture.pick(random.random())
    t = torch.tensor(times(mode, (offset + k * GOLDEN) % 1.0, random.random()))
    level = (schedule or LogLinear()).noise(t)
    uniform = torch.from_numpy(random.random(layout.length))
    noisy, noised = tokens.clone(), torch.zeros(layout.length, dtype=torch.bool)
    for column, modality in enumerate(MODALITIES):
        where, noise = layout.of(modality), transition(process, layout.size(modality))
        clean = layout.states(tokens[where], modality)
        z = noise.corrupt(clean, 1 - level[column], uniform[where])
        free = torch.full(z.shape, bool(t[column] > 0))
        if mode == "prompted" and modality == "report":
            z[:prompt], free[:prompt] = clean[:prompt], False
        noisy[where] = layout.ids(z, modality)
        noised[where] = free if noise.uniform else z == noise.mask
    return Corrupted(noisy, t, noised)
