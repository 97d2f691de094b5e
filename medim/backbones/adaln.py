"""Adaptive layer normalisation that starts as the identity, so that a pretrained block keeps its function.

    y = norm(x) * (1 + scale) + shift,      x <- x + (1 + gate) * branch(y)

with (shift, scale, gate) a linear function of the time vector that is exactly zero at initialisation. (DiT,
arXiv 2212.09748, gates with `gate` alone and starts from zero, which would silence a pretrained block.)
"""

import torch
from torch import nn


class AdaLN(nn.Module):
    """Shift, scale and gate for the attention and the feed-forward branch of one block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)

    def reset(self) -> None:
        """To the identity; called after all framework initialisation."""
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, condition: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """condition (B, width) -> six tensors (B, 1, width): attention shift, scale, gate, then feed-forward's."""
        return self.modulation(nn.functional.silu(condition))[:, None].chunk(6, dim=-1)


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
