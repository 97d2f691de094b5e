"""R2Gen (Chen et al. 2020, arXiv 2010.16056): a transformer whose decoder is conditioned by a relational memory."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tasks.adapters.adapter import folder_fingerprint
from tasks.downstream.relational_memory import Attention, LayerNorm, MemoryLayerNorm, RelationalMemory, sinusoids
from tasks.downstream.report_models import END, ReportModel, ReportNetwork, after_begin, beam_search, cut, token_loss
from tasks.downstream.training_loop import Recipe
from tasks.downstream.visual import open_visual


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the defaults are the paper's."""

    width: int = 512  # D of all rows; also of the feed-forward branches, as in the paper
    layers: int = 3  # of the encoder and of the decoder each
    heads: int = 8
    slots: int = 3  # S of the memory
    dropout: float = 0.1  # inside the transformer; `visual_dropout` after the projection of the patch features
    visual_dropout: float = 0.5
    places: int = 0  # number of patches with a learnt position each; 0, as in the paper, leaves them without
    # beams, longest: of the beam search, and tokens of a report, its end included
    beams: int = 3
    longest: int = 100
    # weight of telling from the image alone which pairs of neighbouring words its report holds; 0 in the paper, whose visual
    # extractor has seen ImageNet: from scratch and few examples it learns little from the text's loss
    pair_loss: float = 0.0


@dataclass(frozen=True)
class Preset:
    """A configuration of R2Gen."""

    side: int
    visual: str  # `efficientnet-lite0`, or `convolutions` from scratch, `visual_width` wide
    visual_width: int
    shape: Shape
    recipe: Recipe
    threshold: int = 3  # occurrences of a word that is known


PAPER_RECIPE = Recipe(16, 1e-4, 5e-5, weight_decay=5e-5, optimizer="amsgrad", schedule="step", clip=("value", 0.1))
TINY = Shape(width=64, layers=2, heads=4, dropout=0.0, visual_dropout=0.0, places=64, longest=128, pair_loss=0.02)
PRESETS = {
    "r2gen": Preset(224, "efficientnet-lite0", 0, Shape(), PAPER_RECIPE),
    "r2gen-tiny": Preset(64, "convolutions", 16, TINY, Recipe(learning_rate=2e-3, visual_learning_rate=2e-3)),
}
"""`r2gen` has the paper's sizes and optimiser; its words keep their punctuation, and no image is mirrored or cropped."""
PAIRS = 512  # buckets of word pairs


def word_pairs(ids: torch.Tensor) -> torch.Tensor:
    """Which of `PAIRS` buckets the neighbouring words in texts (B, T) fall into: (B, PAIRS), 0 or 1.
    A pair says what a word does not: `no nodule` and `a nodule` are two."""
    first, second = ids[:, :-1], ids[:, 1:]
    bucket = (first * 8191 + second * 131) % PAIRS
    return torch.zeros(len(ids), PAIRS, device=ids.device).scatter_reduce(1, bucket, (second != END).float(), "amax")


def _feed_forward(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each after its normalisation: rows (B, P, D) to rows."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = Attention(shape.width, shape.heads, shape.dropout)
        self.feed_forward = _feed_forward(shape.width, shape.dropout)
        self.norms = nn.ModuleList(LayerNorm(shape.width) for _ in range(2))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        normed = self.norms[0](rows)
        rows = rows + self.dropout(self.attention(normed, normed))
        return rows + self.dropout(self.feed_forward(self.norms[1](rows)))


Cached = tuple[torch.Tensor, torch.Tensor]  # keys and values of an attention, (B, heads, T, D / heads) each


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the patches and feed-forward, each after a memory-driven normalisation."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.own = Attention(shape.width, shape.heads, shape.dropout)
        self.source = Attention(shape.width, shape.heads, shape.dropout)
        self.feed_forward = _feed_forward(shape.width, shape.dropout)
        self.norms = nn.ModuleList(MemoryLayerNorm(shape.width, shape.slots * shape.width) for _ in range(3))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(
        self, rows: torch.Tensor, memory: torch.Tensor, patches: Cached, past: Cached | None = None
    ) -> tuple[torch.Tensor, Cached]:
        """Rows (B, T, D) under the memories (B, T, S D), and keys and values of all tokens so far. `patches`: keys and values
        of the encoder's rows. `past`: keys and values of the tokens before `rows`, which then hold one token."""
        normed = self.norms[0](rows, memory)
        key, value = self.own.keys_and_values(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        mixed = self.own.attend(self.own.split(self.own.query(normed)), key, value, causal=past is None)
        rows = rows + self.dropout(mixed)
        query = self.source.split(self.source.query(self.norms[1](rows, memory)))
        rows = rows + self.dropout(self.source.attend(query, *patches))
        return rows + self.dropout(self.feed_forward(self.norms[2](rows, memory))), (key, value)


class R2GenNetwork(ReportNetwork):
    """Images -> patch features -> encoder -> decoder under the memory -> report. `visual`: gives patch features (B, P,
    `visual.features`). `size`: number of ids, the end's among them."""

    def __init__(self, shape: Shape, visual: nn.Module, size: int) -> None:
        super().__init__()
        self.shape, self.visual = shape, visual
        self.project = nn.Linear(int(visual.features), shape.width)  # type: ignore[arg-type]
        self.visual_dropout = nn.Dropout(shape.visual_dropout)
        self.places = nn.Parameter(torch.zeros(shape.places, shape.width)) if shape.places else None
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.layers))
        self.encoder_norm = LayerNorm(shape.width)
        self.embedding = nn.Embedding(size, shape.width)
        self.register_buffer("positions", sinusoids(shape.longest + 1, shape.width), persistent=False)
        self.memory = RelationalMemory(shape.width, shape.slots, shape.heads, shape.dropout)
        self.decoder = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.layers))
        self.decoder_norm = LayerNorm(shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.width, size)
        self.pairs = nn.Linear(2 * shape.width, PAIRS) if shape.pair_loss else None
        self._initialise()

    def _initialise(self) -> None:
        """Xavier for all matrices but the head's and the visual extractor's; the memory's offsets of a norm begin at 0.1."""
        for part in (self.encoder, self.memory, self.decoder, self.embedding):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
        for norm in self.modules():
            if isinstance(norm, MemoryLayerNorm):
                for linear in (*norm.delta_gamma, *norm.delta_beta):
                    if isinstance(linear, nn.Linear):
                        nn.init.constant_(linear.bias, 0.1)
        if self.places is not None:
            nn.init.normal_(self.places, std=0.02)
        if self.pairs is not None:
            nn.init.constant_(self.pairs.bias, -3.0)  # most pairs are absent

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Encoded patches (B, P, D) of images (B, 3, S, S)."""
        rows = self.visual_dropout(self.project(self.visual(images)).relu())
        if self.places is not None:
            rows = rows + self.places
        for layer in self.encoder:
            rows = layer(rows)
        return self.encoder_norm(rows)

    def embed(self, ids: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Rows (B, T, D) of ids (B, T) from position `first` on: memory and decoder read them, as in the released code."""
        tokens = self.embedding(ids) * math.sqrt(self.shape.width)
        return self.dropout(tokens + self.positions[first : first + ids.shape[1]])  # type: ignore[index]

    def forward(self, source: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Logits (B, T, ids) of what follows each of `ids` (B, T), under encoded patches (B, P, D)."""
        rows = self.embed(ids)
        memory = self.memory(rows)
        for layer in self.decoder:
            rows, _ = layer(rows, memory, layer.source.keys_and_values(source))  # type: ignore[operator, union-attr]
        return self.head(self.decoder_norm(rows))

    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        targets = cut(targets)
        source = self.encode(images)
        total, count = token_loss(self(source, after_begin(targets)), targets)
        if self.pairs is not None and self.training:
            logits = self.pairs(torch.cat([source.mean(1), source.amax(1)], 1)).float()
            missed = F.binary_cross_entropy_with_logits(logits, word_pairs(targets), reduction="sum") / len(targets)
            total = total + self.shape.pair_loss * missed * count
        return total, count

    def write(self, images: torch.Tensor) -> list[list[int]]:
        return beam_search(Writing(self, images), len(images), self.shape.beams, self.shape.longest, images.device)


class Writing:
    """Texts being written (`report_models.Stepping`); memory, keys and values are kept, and `<unk>` is never written."""

    def __init__(self, network: R2GenNetwork, images: torch.Tensor) -> None:
        source = network.encode(images)
        self.network, self.length = network, 0
        self.patches: list[Cached] = [layer.source.keys_and_values(source) for layer in network.decoder]  # type: ignore[operator, union-attr, misc]
        self.past: list[Cached | None] = [None] * len(self.patches)
        self.memory = network.memory.initial(len(source), source)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        rows = self.network.embed(tokens[:, None], self.length)
        self.memory, self.length = self.network.memory.step(self.memory, rows[:, 0]), self.length + 1
        memory = self.memory.flatten(1)[:, None]
        for number, layer in enumerate(self.network.decoder):
            rows, self.past[number] = layer(rows, memory, self.patches[number], self.past[number])
        logits = self.network.head(self.network.decoder_norm(rows))[:, 0].float()
        logits[:, -1] = float("-inf")
        return logits.log_softmax(-1)

    def select(self, rows: torch.Tensor) -> None:
        self.memory = self.memory[rows]
        self.patches = [(key[rows], value[rows]) for key, value in self.patches]
        self.past = [None if past is None else (past[0][rows], past[1][rows]) for past in self.past]


class R2Gen(ReportModel):
    """R2Gen as a downstream model. `resnet`: folder of a transformers ResNet, such as the paper's ResNet-101, in place of the
    preset's visual extractor. Raises UserError: the folder holds no ResNet."""

    def __init__(self, name: str, preset: Preset, resnet: str | None, device: str) -> None:
        super().__init__(name, preset.side, preset.recipe, device, preset.threshold, preset.shape.longest)
        self.preset, self.resnet = preset, resnet

    def describe(self) -> dict[str, Any]:
        visual = self.preset.visual if self.resnet is None else f"resnet {folder_fingerprint(Path(self.resnet))}"
        sizes = {"visual_width": self.preset.visual_width, "threshold": self.threshold, **asdict(self.preset.shape)}
        return {"architecture": "R2Gen", "visual": visual, **sizes}

    def build(self, size: int) -> R2GenNetwork:
        return R2GenNetwork(self.preset.shape, open_visual(self.preset.visual, self.preset.visual_width, self.resnet), size)
