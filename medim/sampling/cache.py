"""Hidden states of a trajectory, of which not all are computed anew in every round.

From one round to the next few tokens change. Between two full passes only the positions that changed, or whose logits are
requested, go through the blocks; they attend to keys and values of all positions, those of the others as last computed. The
result is approximate (`medim-bench diagnose` measures by how much). With `refresh` 1 nothing is cached.

A sample depends on its row alone here too. The cache of a row changes only in rounds that reveal something of that row, and in
full passes, which come at the same rounds for every row.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from medim.backbones.backbone import CACHE
from medim.backbones.causal_lm import CausalLMBackbone
from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.sampling.forward import Denoiser, Request, stacked
from medim.sampling.plan import Round
from medim.sampling.settings import CacheSettings

States = Callable[[Canvas, Sequence[Request], Round, torch.Tensor], tuple[torch.Tensor, int]]
"""(canvas, requests of the round, the round, number of positions of each row that changed since the last call, (B,) on the CPU)
-> hidden states (R, L, width) of the rows of `stacked`, valid at the requested places, and how many positions of each row were
computed."""


@contextmanager
def hidden_states(model: Denoiser, settings: CacheSettings) -> Iterator[States]:
    """The hidden states of one trajectory, round by round.
    Raises UserError: `refresh` above 1 of a model whose blocks cannot be run for some positions alone."""
    if settings.refresh == 1:
        yield lambda canvas, requests, *_: (model.hidden(*stacked(canvas, requests)), canvas.layout.length)
        return
    backbone = _partial_backbone(model)
    assert isinstance(model, MeDiMModel)
    store = _Store()
    hooks = [
        layer.self_attn.register_forward_pre_hook(store.join, with_kwargs=True)  # type: ignore[union-attr]
        for layer in backbone.blocks
    ]
    try:
        yield _Cached(model, backbone, store, settings.refresh)
    finally:
        for hook in hooks:
            hook.remove()


def _partial_backbone(model: Denoiser) -> CausalLMBackbone:
    """Raises UserError for a model that can only be run whole."""
    backbone = model.backbone if isinstance(model, MeDiMModel) else None
    if not isinstance(backbone, CausalLMBackbone):
        reason = "is for backbones that are language models"
    elif model.config.attention != "bidirectional" or model.config.logit_alignment != "own":
        reason = "needs bidirectional attention and logits at their own positions"
    elif model.config.hidden_padding is not None:
        reason = "is not for padding that attention does not see"
    elif any(kind != "full_attention" for kind in backbone._kinds()):
        reason = "is not for sliding windows"
    elif backbone.decoder.config._attn_implementation not in ("sdpa", "eager"):
        reason = "needs the attention kernel sdpa or eager"
    else:
        return backbone
    raise UserError(f"cache.refresh above 1 {reason}; set it to 1")


class _Store:
    """Keys and values of every block, (R, heads, L, head) each, with the interface of a `transformers.Cache`.
    `active`: positions (R, A) that are being computed; None while all are.
    `taken`: which of them are stored, (R, A); the others pad rows that have fewer."""

    def __init__(self) -> None:
        self.active: torch.Tensor | None = None
        self.taken: torch.Tensor | None = None
        self._stored: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def join(self, module: nn.Module, arguments: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """A hook before the attention of a block: passes it this store."""
        return arguments, named | {CACHE: self}

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values of a block, those of the active positions (R, heads, A, head) new; called as `Cache.update`."""
        if self.active is not None and self.taken is not None:
            index, taken = self.active[:, None, :, None].expand_as(key), self.taken[:, None, :, None]
            key, value = (
                _replaced(old, 2, index, new, taken) for old, new in zip(self._stored[layer], (key, value), strict=True)
            )
        self._stored[layer] = key, value
        return key, value


def _replaced(old: torch.Tensor, dim: int, index: torch.Tensor, new: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
    """`old` with `new` at `index` of a dimension, where it is `taken`."""
    return old.scatter(dim, index, torch.where(taken, new, old.gather(dim, index)))


class _Cached:
    """States of one trajectory; see `States`."""

    def __init__(self, model: MeDiMModel, backbone: CausalLMBackbone, store: _Store, refresh: int) -> None:
        self.model, self.backbone, self.store, self.refresh = model, backbone, store, refresh
        self.block = 0
        self.guided: tuple[str, ...] = ()
        self.tokens: torch.Tensor | None = None
        self.hidden: torch.Tensor | None = None
        self.pending: torch.Tensor | int = 0  # positions that changed in each row since it was computed, at most

    def __call__(
        self, canvas: Canvas, requests: Sequence[Request], entry: Round, changed: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        layout, block = canvas.layout, entry.index // self.refresh
        tokens, t = stacked(canvas, requests)
        guided = tuple(request.modality for request in requests if request.weight is not None)
        self.pending = self.pending + changed
        if self.tokens is None or self.hidden is None or guided != self.guided or block != self.block:
            self.store.active, size, self.pending = None, layout.length, 0
            self.hidden, self.tokens = self.model.hidden(tokens, t), tokens
        else:
            requested = torch.stack([turn.requested for turn in entry.turns]).sum(0)
            size = min(layout.length, int((self.pending + requested)[requested > 0].max()))
            live, wanted = _wanted(canvas, requests, tokens != self.tokens)
            active = wanted.int().argsort(dim=1, descending=True, stable=True)[:, :size]  # (R, A)
            self.store.active, self.store.taken = active, wanted.gather(1, active)
            index, new = self._some(tokens, t, active)
            self.hidden = _replaced(self.hidden, 1, index.expand_as(new), new, self.store.taken[..., None])
            self.tokens = torch.where(live[:, None], tokens, self.tokens)
            if all(turn.certain for turn in entry.turns):
                self.pending = self.pending.masked_fill(requested > 0, 0)
        self.block, self.guided = block, guided
        return self.hidden, size

    def _some(self, tokens: torch.Tensor, t: torch.Tensor, active: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Final hidden states of the active positions, (R, A, width), after their index for a scatter."""
        model, backbone = self.model, self.backbone
        whole = model.embed(tokens)
        index = active[..., None].expand(-1, -1, whole.shape[-1])
        x = whole.gather(1, index)
        condition = None if model.time is None else model.time(t)
        if backbone.timestep == "additive":
            x = x + backbone.add(condition)[:, None]
        kinds = ["full_attention"] if backbone.decoder.config.model_type == "gemma3_text" else []
        places = torch.arange(tokens.shape[1], device=tokens.device)[None]
        rotary = backbone.decoder.rotary_emb(whole, places, *kinds)
        turns = tuple(
            part.expand(len(tokens), -1, -1).gather(1, active[..., None].expand(-1, -1, part.shape[-1])) for part in rotary
        )
        for number, layer in enumerate(backbone.blocks):
            modulation = backbone.adaln[number](condition) if backbone.timestep == "adaln" else None
            x = layer(x, turns, None, modulation)
        return index, backbone.modulated(backbone.decoder.norm(x), condition)


def _wanted(canvas: Canvas, requests: Sequence[Request], changed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of which something is requested, (R,), and which of their positions are to be computed, (R, L)."""
    copies = len(changed) // len(canvas.tokens)
    wanted, live = changed, torch.zeros_like(changed[:, 0])
    for request in requests:
        idle = torch.zeros_like(request.place, dtype=torch.bool) if request.idle is None else request.idle
        index = request.place.repeat(copies, 1) + canvas.layout.of(request.modality).start
        busy = ~idle.repeat(copies, 1)
        live, wanted = live | busy.any(1), wanted.scatter(1, index, wanted.gather(1, index) | busy)
    return live, wanted & live[:, None]
