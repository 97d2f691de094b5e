"""R2Gen's relational memory and the layer normalisation that it conditions (Chen et al. 2020, arXiv 2010.16056)."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017) with biases; dropout on its weights."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def split(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, heads, T, D / heads)."""
        return rows.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool = False) -> torch.Tensor:
        """Of heads (B, heads, T, D / heads), the result (B, T, D)."""
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def keys_and_values(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of rows (B, T, D), the heads' keys and values."""
        return self.split(self.key(rows)), self.split(self.value(rows))

    def forward(self, rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """`rows` (B, T, D) attend to `others` (B, U, D)."""
        return self.attend(self.split(self.query(rows)), *self.keys_and_values(others))


class RelationalMemory(nn.Module):
    """A memory of S slots, updated by every token (section 3.2 of the paper).

        Q = M_{t-1},  K = V = [M_{t-1}; y_{t-1}]
        M'  = M_{t-1} + MHA(Q, K, V)
        M'' = M' + MLP(M')                             MLP: linear, ReLU, linear, ReLU
        [i, f] = W y_{t-1} + U tanh(M_{t-1})
        M_t = sigmoid(i) * tanh(M'') + sigmoid(f) * M_{t-1}

    Args:
        width: D of a slot and of a token's embedding.
    """

    def __init__(self, width: int, slots: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.width, self.slots = width, slots
        self.attention = Attention(width, heads, dropout)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.w, self.u = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)

    def initial(self, batch: int, like: torch.Tensor) -> torch.Tensor:
        """M_0: the first rows of an identity matrix, (B, S, D)."""
        memory = torch.eye(self.slots, self.width, dtype=like.dtype, device=like.device)
        return memory.expand(batch, -1, -1)

    def step(self, memory: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        """M_t (B, S, D) of M_{t-1} (B, S, D) and the embedding y_{t-1} (B, D)."""
        attended = memory + self.attention(memory, torch.cat([memory, token[:, None]], 1))
        updated = attended + self.mlp(attended)
        i, f = (self.w(token)[:, None] + self.u(memory.tanh())).chunk(2, -1)
        return i.sigmoid() * updated.tanh() + f.sigmoid() * memory

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The flattened memory after each of the embeddings (B, T, D): (B, T, S D)."""
        memory, steps = self.initial(len(tokens), tokens), []
        for token in tokens.unbind(1):
            memory = self.step(memory, token)
            steps.append(memory.flatten(1))
        return torch.stack(steps, 1)


class LayerNorm(nn.Module):
    """y = gamma (x - mean) / deviation + beta, with the unbiased deviation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.gamma * _standardised(rows) + self.beta


def _standardised(rows: torch.Tensor) -> torch.Tensor:
    """(x - mean) / unbiased deviation over the last axis, by the library's kernel, which divides by the biased one."""
    width = rows.shape[-1]
    return F.layer_norm(rows, (width,), eps=1e-12) * math.sqrt((width - 1) / width)


class MemoryLayerNorm(nn.Module):
    """Memory-driven conditional layer normalisation (section 3.3): gamma + MLP_g(m_t) and beta + MLP_b(m_t).
    `memory`: size S D of the flattened memory m_t."""

    def __init__(self, width: int, memory: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.delta_gamma = nn.Sequential(nn.Linear(memory, width), nn.ReLU(), nn.Linear(width, width))
        self.delta_beta = nn.Sequential(nn.Linear(memory, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, rows: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Rows (B, T, D) under the memories (B, T, S D)."""
        gamma, beta = self.gamma + self.delta_gamma(memory), self.beta + self.delta_beta(memory)
        return gamma * _standardised(rows) + beta


def sinusoids(length: int, width: int) -> torch.Tensor:
    """Position codes (T, D) of Vaswani et al. 2017: sines at even places, cosines at odd ones."""
    places = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([places.sin(), places.cos()], -1).flatten(1)
