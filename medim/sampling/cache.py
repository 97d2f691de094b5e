"""Hidden states of a trajectory, of which not all are computed anew in every round.

From one round to the next few tokens change. Between two full passes only the positions that changed, or whose logits are
asked for, go through the blocks; they attend to keys and values of all positions, those of the others as they were when last
computed. No training is needed and the result is approximate: `drift` tells by how much. With `refresh` 1 nothing is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from medim.backbones.adaln import modulate
from medim.backbones.causal_lm import CausalLMBackbone
from medim.canvas import Canvas
from medim.denoiser import MeDiMModel
from medim.errors import UserError
from medim.sampling.forward import Ask, Denoiser, stacked
from medim.sampling.settings import CacheSettings

States = Callable[[Canvas, Sequence[Ask], int], tuple[torch.Tensor, int]]
"""(canvas, asks, most positions that changed in any row since the call before) -> hidden states (R, L, width) of the rows of
`stacked`, right at the places asked for, and how many positions of each row were computed."""


@contextmanager
def hidden_states(model: Denoiser, settings: CacheSettings) -> Iterator[States]:
    """The hidden states of one trajectory, round by round.

    Raises:
        UserError: `refresh` above 1 of a model whose blocks cannot be run for some positions alone.
    """
    if settings.refresh == 1:
        yield lambda canvas, asks, changed: (model.hidden(*stacked(canvas, asks)), canvas.layout.length)
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
    elif any(kind != "full_attention" for kind in backbone._kinds()):
        reason = "is not for sliding windows"
    elif backbone.decoder.config._attn_implementation not in ("sdpa", "eager"):
        reason = "needs the attention kernel sdpa or eager"
    else:
        return backbone
    raise UserError(f"cache.refresh above 1 {reason}; set it to 1")


class _Store:
    """Keys and values of every block, (R, heads, L, head) each, in the shape in which an attention module asks for its past.

    Attributes:
        active: positions (R, A) that are being computed; None while all are.
    """

    def __init__(self) -> None:
        self.active: torch.Tensor | None = None
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def join(self, module: nn.Module, arguments: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """A hook before the attention of a block: hands it this store."""
        return arguments, named | {"past_key_values": self}

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values of a block, those of the active positions (R, heads, A, head) new."""
        if self.active is not None:
            index = self.active[:, None, :, None].expand_as(key)
            old_key, old_value = self._kept[layer]
            key, value = old_key.scatter(2, index, key), old_value.scatter(2, index, value)
        self._kept[layer] = key, value
        return key, value


class _Cached:
    """States of one trajectory; see `States`."""

    def __init__(self, model: MeDiMModel, backbone: CausalLMBackbone, store: _Store, refresh: int) -> None:
        self.model, self.backbone, self.store, self.refresh = model, backbone, store, refresh
        self.age = 0
        self.guided: tuple[str, ...] = ()
        self.tokens: torch.Tensor | None = None
        self.hidden: torch.Tensor | None = None

    def __call__(self, canvas: Canvas, asks: Sequence[Ask], changed: int) -> tuple[torch.Tensor, int]:
        layout = canvas.layout
        tokens, t = stacked(canvas, asks)
        guided = tuple(ask.modality for ask in asks if ask.weight is not None)
        size = min(layout.length, changed + sum(ask.place.shape[1] for ask in asks))
        fresh = self.tokens is None or self.hidden is None or guided != self.guided or self.age >= self.refresh
        if fresh or size == layout.length:
            self.store.active, self.age, size = None, 0, layout.length
            self.hidden = self.model.hidden(tokens, t)
        else:
            assert self.tokens is not None
            assert self.hidden is not None
            wanted = tokens != self.tokens
            for ask in asks:
                index = ask.place.repeat(len(tokens) // len(canvas.tokens), 1) + layout.of(ask.modality).start
                wanted = wanted.scatter(1, index, True)
            active = wanted.int().argsort(dim=1, descending=True, stable=True)[:, :size]  # (R, A)
            self.store.active = active
            self.hidden = self.hidden.scatter(1, *self._some(tokens, t, active))
        self.age, self.guided, self.tokens = self.age + 1, guided, tokens
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
        x = backbone.decoder.norm(x)
        return index, modulate(x, *backbone.final(condition)) if backbone.timestep == "adaln" else x


def drift(exact: Canvas, cached: Canvas) -> float:
    """Share of the generated tokens that differ between two canvases filled from the same seeds."""
    free = ~exact.given
    return float((exact.tokens != cached.tokens)[free].float().mean()) if bool(free.any()) else 0.0
