"""The time of each modality as one vector that the blocks are modulated by."""

import math

import torch
from torch import nn

from medim.canvas import MODALITIES

FREQUENCIES = 128


def sinusoid(t: torch.Tensor) -> torch.Tensor:
    """Sinusoidal features of t in [0, 1], shape (..., 2 * FREQUENCIES).

    t is scaled by 1,000 before the usual geometric frequencies (Vaswani et al. 2017), to resolve small times.
    """
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(FREQUENCIES, device=t.device) / FREQUENCIES)
    angles = 1000.0 * t[..., None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedding(nn.Module):
    """(t_image, t_report) of shape (B, 2) -> one vector of shape (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(len(MODALITIES) * 2 * FREQUENCIES, width)
        self.output = nn.Linear(width, width)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        features = sinusoid(t).flatten(1).to(self.input.weight.dtype)
        return self.output(nn.functional.silu(self.input(features)))
