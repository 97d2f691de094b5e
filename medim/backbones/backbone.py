"""The interface of a backbone, and its attention mask."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
import transformers
from torch import nn
from transformers import Cache, PretrainedConfig

from medim.backbones.adaln import AdaLN, FinalModulation, Gating, modulate
from medim.common.streams import GOLDEN

Attention = Literal["bidirectional", "causal"]
Timestep = Literal["adaln", "additive", "none"]

CACHE = "cache" if tuple(map(int, transformers.__version__.split(".")[:2])) >= (5, 24) else "past_key_values"
"""Name of the argument of transformers' attention for the cache of keys and values."""


class Backbone(nn.Module, ABC):
    """Embeddings and time in, hidden states out; `attention`, `timestep` and `gating` as of `medim.denoiser.MeDiMConfig`."""

    def __init__(self, config: PretrainedConfig, attention: Attention, timestep: Timestep, gating: Gating) -> None:
        super().__init__()
        self.attention: Attention = attention
        self.timestep = timestep
        width = config.hidden_size
        if timestep == "adaln":
            self.adaln = nn.ModuleList(AdaLN(width, gating) for _ in range(config.num_hidden_layers))
        elif timestep == "additive":
            self.add = nn.Linear(width, width)
        self.final = FinalModulation(width) if timestep == "adaln" and gating != "released" else None

    def reset_modulation(self) -> None:
        """Resets to step 0; called after all framework initialisation."""
        if self.timestep == "adaln":
            for block in (*self.adaln, *([] if self.final is None else [self.final])):
                block.reset()
        elif self.timestep == "additive":
            nn.init.zeros_(self.add.weight)
            nn.init.zeros_(self.add.bias)

    def modulated(self, x: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """The last norm's output (B, L, width), shifted and scaled by time where the backbone does that."""
        return x if self.final is None else modulate(x, *self.final(condition))

    @property
    @abstractmethod
    def embedding(self) -> nn.Embedding:
        """Embedding of the text ids."""

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleList:
        """The blocks without their modulation."""

    @abstractmethod
    def set_attention(self, attention: Attention) -> None:
        """Removes the causal mask or puts it back."""

    @abstractmethod
    def set_kernel(self, implementation: str) -> None:
        """Chooses the attention kernel. Raises UserError for an unknown one."""

    @abstractmethod
    def forward(
        self,
        embeddings: torch.Tensor,
        condition: torch.Tensor | None,
        future: float = 1.0,
        past: Cache | None = None,
        unseen: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`embeddings`: shape (B, L, width).
        `condition`: the time vector (B, width), or None where time is ignored.
        `future`: share of the future positions that a bidirectional backbone sees, see `hidden_from`.
        `past`: keys and values of the positions before these, for a causal backbone, which extends it.
        `unseen`: True at positions that no other attends to, (B, L); not together with `past`.
        Returns final hidden states (B, L, width)."""


def hidden_from(
    length: int, causal: bool, window: int, future: float, device: torch.device | str = "cpu"
) -> torch.Tensor | None:
    """The mask of attention, True where a query does not see a key, shape (L, L); None where it sees everything.
    `length`: L.
    `causal`: nothing to the right is seen.
    `window`: keys at this distance and beyond are not seen.
    `future`: share of the keys to the right that are seen while a causal mask is annealed away (Gong et al. 2024, arXiv
    2410.17891): each pair opens at another share, in a fixed low-discrepancy order."""
    if not causal and future >= 1 and window >= length:
        return None
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None]
    hidden = distance.abs() >= window
    if causal:
        return hidden | (distance < 0)
    if future < 1:
        threshold = ((place[:, None] * length + place[None]).double() * GOLDEN) % 1.0
        hidden |= (distance < 0) & (threshold >= future)
    return hidden


def also_hidden(hidden: torch.Tensor | None, unseen: torch.Tensor | None) -> torch.Tensor | None:
    """The mask of attention with the `unseen` keys (B, L) hidden too: (L, L), (B, 1, L or 1, L), or None."""
    if unseen is None:
        return hidden
    keys = unseen[:, None, None]
    return keys if hidden is None else hidden | keys
