"""Time as a vector, and adaptive layer normalisation by it.

    y = norm(x) * (1 + scale) + shift,      x <- x + g(gate) * branch(y)

with (shift, scale, gate) a linear function of the time vector. Three gatings:

* `identity`: g = 1 + gate, everything zero at initialisation: the pretrained block at step 0.
* `zero`: g = gate, everything zero at initialisation: every block is silent at step 0 (AdaLN-Zero of DiT, arXiv 2212.09748).
* `released`: g = gate, weights from N(0, 0.02^2), no activation before them and no modulation of the last norm, as in the code
  that the MeDiM authors released: every pretrained branch is scaled by small numbers of random sign.
"""

import math
from typing import Literal

import torch
from torch import nn

from medim.canvas import MODALITIES

Gating = Literal["identity", "zero", "released"]
TimeInput = Literal["fractions", "sigma"]
RELEASED_DEVIATION = 0.02
FREQUENCIES = 128
FLOOR = 1e-3  # of the share of tokens that stay themselves: sigma is finite at t = 1


def sinusoid(t: torch.Tensor, scale: float = 1000.0) -> torch.Tensor:
    """Sinusoidal features of t in [0, 1], shape (..., 2 * FREQUENCIES).
    t is scaled by 1,000 before the usual geometric frequencies (Vaswani et al. 2017), to resolve small times."""
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(FREQUENCIES, device=t.device) / FREQUENCIES)
    angles = scale * t[..., None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedding(nn.Module):
    """(t_image, t_report) of shape (B, 2) -> one vector of shape (B, width)."""

    times = len(MODALITIES)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(self.times * 2 * FREQUENCIES, width)
        self.output = nn.Linear(width, width)

    def features(self, t: torch.Tensor) -> torch.Tensor:
        """(B, 2) -> (B, times * 2 * FREQUENCIES)."""
        return sinusoid(t).flatten(1)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        features = self.features(t).to(self.input.weight.dtype)
        return self.output(nn.functional.silu(self.input(features)))


class SigmaEmbedding(TimestepEmbedding):
    r"""One time of both modalities: \sigma = -log(1 - (1 - 0.001) t) of the share t of all tokens that are noise.
    `lengths`: positions of each modality, which weigh its share."""

    times = 1

    def __init__(self, width: int, lengths: tuple[int, int]) -> None:
        super().__init__(width)
        self.lengths = lengths

    def features(self, t: torch.Tensor) -> torch.Tensor:
        share = (t[:, 0].float() * self.lengths[0] + t[:, 1].float() * self.lengths[1]) / sum(self.lengths)
        return sinusoid(-torch.log1p(-(1 - FLOOR) * share.clamp(0, 1)), scale=1.0)


class AdaLN(nn.Module):
    """Shift, scale and gate for the attention and the feed-forward branch of one block."""

    def __init__(self, width: int, gating: Gating = "identity") -> None:
        super().__init__()
        self.gating = gating
        self.modulation = nn.Linear(width, 6 * width)

    def reset(self) -> None:
        """Resets to step 0; called after all framework initialisation."""
        if self.gating == "released":
            nn.init.normal_(self.modulation.weight, std=RELEASED_DEVIATION)
        else:
            nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, condition: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """condition (B, width) -> six tensors (B, 1, width): attention's shift, scale and g(gate), then feed-forward's."""
        active = condition if self.gating == "released" else nn.functional.silu(condition)
        parts = self.modulation(active)[:, None].chunk(6, dim=-1)
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = parts
        if self.gating == "identity":
            gate_a, gate_f = 1 + gate_a, 1 + gate_f
        return shift_a, scale_a, gate_a, shift_f, scale_f, gate_f


class FinalModulation(nn.Module):
    """Shift and scale of the last norm, zero at initialisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 2 * width)

    def reset(self) -> None:
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shift, scale = self.modulation(nn.functional.silu(condition))[:, None].chunk(2, dim=-1)
        return shift, scale


def modulate(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """x * (1 + scale) + shift; x (B, L, width), the others (B, 1, width)."""
    return torch.addcmul(shift, x, 1 + scale)
