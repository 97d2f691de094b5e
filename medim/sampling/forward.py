"""One pass through the model: logits at the places that a round reads, with or without guidance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from medim.canvas import MODALITIES, Canvas, Modality
from medim.common.errors import UserError


class Denoiser(Protocol):
    """What a decoder needs of a model, such as `medim.denoiser.MeDiMModel`."""

    config: Any

    def hidden(self, tokens: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What the logits of each position are read from, (B, L, width), of ids (B, L) and masked fractions (B, 2)."""

    def logits(self, hidden: torch.Tensor, modality: Modality) -> torch.Tensor:
        """(..., width) -> (..., V) over the ids of the modality."""


@dataclass(frozen=True)
class Pass:
    """What one pass through the model computed, over all its rows."""

    rows: int  # sequences, those of guidance included
    guided: int  # sequences that are there for guidance alone
    queries: int  # positions of each sequence that went through the blocks; all of them unless some came from the cache
    keys: int  # positions of each sequence that these attended to
    # image_logits, report_logits: positions whose logits were computed
    image_logits: int
    report_logits: int


@dataclass(frozen=True)
class Request:
    """Where logits of one modality are wanted."""

    modality: Modality
    place: torch.Tensor  # positions within the modality, (B, K)
    weight: torch.Tensor | None  # of guidance (B,); None computes no second row
    idle: torch.Tensor | None = None  # True where a place needs nothing, (B, K); None nowhere


def stacked(canvas: Canvas, requests: Sequence[Request]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (R, L) and masked fractions (R, 2) of one pass: the canvas, then a copy for each guided modality.
    In the copy the other modality is masked throughout, as condition dropout showed it in training."""
    layout = canvas.layout
    tokens, t = [canvas.tokens], [canvas.masked_fraction()]
    for request in requests:
        if request.weight is None:
            continue
        column = 1 - MODALITIES.index(request.modality)
        unknown, fractions = canvas.tokens.clone(), t[0].clone()
        unknown[:, layout.of(MODALITIES[column])] = layout.vocabulary.mask
        fractions[:, column] = 1.0
        tokens.append(unknown)
        t.append(fractions)
    return torch.cat(tokens), torch.cat(t)


def read(model: Denoiser, canvas: Canvas, hidden: torch.Tensor, requests: Sequence[Request]) -> Mapping[Modality, torch.Tensor]:
    """Logits (B, K, V) of each request from the hidden states (R, L, width) of `stacked`. Guided: (1 + w) log p(x | all) - w
    log p(x | without the other modality) (Ho and Salimans, arXiv 2207.12598), up to a constant in each place."""
    rows = len(canvas.tokens)
    blocks = iter(hidden[rows:].split(rows) if len(hidden) > rows else ())
    result = {}
    for request in requests:
        where = canvas.layout.of(request.modality)

        def at(block: torch.Tensor, where: slice = where, request: Request = request) -> torch.Tensor:
            index = request.place[..., None].expand(-1, -1, block.shape[-1])
            return model.logits(block[:, where].gather(1, index), request.modality)

        logits = at(hidden[:rows])
        if request.weight is not None:
            logits = logits + request.weight[:, None, None].to(logits) * (logits - at(next(blocks)))
        result[request.modality] = logits
    return result


def non_finite(logits: torch.Tensor) -> torch.Tensor:
    """Whether the largest logit of some place is NaN or infinite; a tensor () on the device."""
    return ~logits.amax(-1).isfinite().all()


def refuse_non_finite(flags: Sequence[torch.Tensor]) -> None:
    """Raises UserError where a flag of `non_finite` is set; waits for the device, hence once, after all rounds."""
    if flags and bool(torch.stack(list(flags)).any()):
        raise UserError("its logits are NaN or infinite: weights that are not finite, or a dtype in which they overflow")


def account(canvas: Canvas, requests: Sequence[Request], queries: int | None = None) -> Pass:
    """What a pass for these requests computes."""
    rows, length = canvas.tokens.shape
    guided = sum(request.weight is not None for request in requests)
    computed = {
        m: sum(request.place.numel() * (1 + (request.weight is not None)) for request in requests if request.modality == m)
        for m in MODALITIES
    }
    return Pass(rows * (1 + guided), rows * guided, queries or length, length, computed["image"], computed["report"])
