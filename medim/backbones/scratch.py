"""Backbones from random weights: the diffusion transformer (DiT) and UniDisc's, for the paper's ablations."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Cache, PretrainedConfig

from medim.backbones.adaln import Gating, modulate
from medim.backbones.backbone import Attention, Backbone, Timestep, also_hidden, hidden_from
from medim.canvas import Layout
from medim.common.errors import unknown

KERNELS = ("sdpa",)
BASE = 10_000.0  # of rotary positions (Su et al. 2021, arXiv 2104.09864)


class ScratchConfig(PretrainedConfig):
    """Shape of a backbone from random weights; `hidden_size` is a multiple of 4 times `num_attention_heads`."""

    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    vocab_size: int = 0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True


class DiTConfig(ScratchConfig):
    """A diffusion transformer (Peebles and Xie 2023, arXiv 2212.09748; for tokens MDLM, arXiv 2406.07524)."""

    model_type = "dit"


class UniDiscConfig(ScratchConfig):
    """UniDisc's transformer (arXiv 2503.20853)."""

    model_type = "unidisc"


class Block(nn.Module):
    """One block. DiT: layer norm without weights before each branch, GELU. UniDisc: RMS norm before and after each branch and
    of queries and keys, SwiGLU."""

    def __init__(self, config: PretrainedConfig, index: int) -> None:
        super().__init__()
        self.index = index
        width, inner = config.hidden_size, config.intermediate_size
        self.unidisc = config.model_type == "unidisc"
        self.heads = config.num_attention_heads
        norms = 4 if self.unidisc else 2
        self.norms = nn.ModuleList(_norm(width, self.unidisc) for _ in range(norms))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, inner, bias=not self.unidisc)
        self.down = nn.Linear(inner, width, bias=not self.unidisc)
        if self.unidisc:
            self.side = nn.Linear(width, inner, bias=False)
            self.query_norm, self.key_norm = (_norm(width // self.heads, True) for _ in range(2))

    def attend(self, y: torch.Tensor, turn: torch.Tensor, seen: torch.Tensor | None, past: Cache | None) -> torch.Tensor:
        """y (B, L, width), turn (L, head / 2), seen (L, past + L) or None for everything -> (B, L, width)."""
        batch, length, width = y.shape
        q, k, v = self.qkv(y).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (B, heads, L, head)
        if self.unidisc:
            q, k = self.query_norm(q), self.key_norm(k)
        q, k = rotate(q, turn), rotate(k, turn)
        if past is not None:
            k, v = past.update(k, v, self.index)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        y = self.out(y.transpose(1, 2).reshape(batch, length, width))
        return self.norms[2](y) if self.unidisc else y

    def feed_forward(self, y: torch.Tensor) -> torch.Tensor:
        if self.unidisc:
            return self.norms[3](self.down(F.silu(self.side(y)) * self.up(y)))
        return self.down(F.gelu(self.up(y), approximate="tanh"))

    def forward(
        self,
        x: torch.Tensor,
        turn: torch.Tensor,
        seen: torch.Tensor | None,
        modulation: tuple[torch.Tensor, ...] | None,
        past: Cache | None = None,
    ) -> torch.Tensor:
        if modulation is None:
            x = x + self.attend(self.norms[0](x), turn, seen, past)
            return x + self.feed_forward(self.norms[1](x))
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = modulation
        x = torch.addcmul(x, gate_a, self.attend(modulate(self.norms[0](x), shift_a, scale_a), turn, seen, past))
        return torch.addcmul(x, gate_f, self.feed_forward(modulate(self.norms[1](x), shift_f, scale_f)))


class ScratchBackbone(Backbone):
    """DiT or UniDisc, by the configuration's `model_type`. DiT turns queries and keys by their place in the sequence and gates
    its branches from zero (AdaLN-Zero). UniDisc turns image tokens by row and column and adds a vector for each modality."""

    def __init__(
        self, config: PretrainedConfig, attention: Attention, timestep: Timestep, gating: Gating, layout: Layout
    ) -> None:
        super().__init__(config, attention, timestep, gating)
        self.config = config
        self.text = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, index) for index in range(config.num_hidden_layers))
        self.norm = _norm(config.hidden_size, config.model_type == "unidisc")
        self.layout = layout
        if config.model_type == "unidisc":
            self.modality = nn.Embedding(2, config.hidden_size)
        self.gradient_checkpointing = False

    @property
    def embedding(self) -> nn.Embedding:
        return self.text

    @property
    def blocks(self) -> nn.ModuleList:
        return self.layers

    def set_attention(self, attention: Attention) -> None:
        self.attention = attention

    def set_kernel(self, implementation: str) -> None:
        if implementation not in KERNELS:
            raise unknown(f"attention kernel of {self.config.model_type}", implementation, KERNELS)

    def forward(
        self,
        embeddings: torch.Tensor,
        condition: torch.Tensor | None,
        future: float = 1.0,
        past: Cache | None = None,
        unseen: torch.Tensor | None = None,
    ) -> torch.Tensor:
        x, layout = embeddings, self.layout
        start = 0 if past is None else past.get_seq_length()
        here = slice(start, start + x.shape[1])
        head = self.config.hidden_size // self.config.num_attention_heads
        if self.config.model_type == "unidisc":
            place = torch.arange(layout.length, device=x.device)
            x = x + self.modality(((place >= layout.image.start) & (place < layout.image.stop)).long())[here]
            turn = canvas_angles(layout.length, layout.image, head, x.device)
        else:
            turn = sequence_angles(layout.length, head, x.device)
        if self.timestep == "additive":
            x = x + self.add(condition)[:, None]
        hidden = hidden_from(layout.length, self.attention == "causal", layout.length, future, x.device)
        hidden = also_hidden(None if hidden is None else hidden[here, : here.stop], unseen)
        seen = None if hidden is None else ~hidden
        for index, block in enumerate(self.layers):
            modulation = self.adaln[index](condition) if self.timestep == "adaln" else None
            arguments: tuple[Any, ...] = (x, turn[here], seen, modulation, past)
            if self.gradient_checkpointing and self.training:
                x = torch.utils.checkpoint.checkpoint(block, *arguments, use_reentrant=False)
            else:
                x = block(*arguments)
        return self.modulated(self.norm(x), condition)


def _norm(width: int, rms: bool) -> nn.Module:
    return nn.RMSNorm(width, eps=1e-6) if rms else nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)


def angles(positions: torch.Tensor, dimensions: int) -> torch.Tensor:
    """positions (L,) -> angles (L, dimensions / 2), from one radian a position down to 1 / BASE."""
    frequencies = BASE ** -(torch.arange(0, dimensions, 2, device=positions.device) / dimensions)
    return positions[:, None].float() * frequencies


def sequence_angles(length: int, head: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Angles (length, head / 2) of a plain sequence."""
    return angles(torch.arange(length, device=device), head)


def canvas_angles(length: int, image: slice, head: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Angles (length, head / 2) of a canvas: of an image token half by its row, half by its column; of others by place."""
    count = image.stop - image.start
    side = round(count**0.5)
    rows, columns = torch.arange(length, device=device), torch.arange(length, device=device)
    if side * side == count:
        place = torch.arange(count, device=device)
        rows[image], columns[image] = image.start + place // side, image.start + place % side
    return torch.cat([angles(rows, head // 2), angles(columns, head // 2)], dim=-1)


def rotate(x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """x (B, heads, L, head) turned by angles (L, head / 2)."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = turn.cos().to(x.dtype), turn.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
