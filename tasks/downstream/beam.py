"""Beam search over any decoder that goes a token at a time."""

from typing import Protocol

import torch

from tasks.downstream.words import END


class Stepping(Protocol):
    """What a decoder remembers of the texts so far, one row for each."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (N, ids) of what follows when `tokens` (N,) are added to the N texts."""

    def select(self, rows: torch.Tensor) -> None:
        """Keeps these rows in this order; a row may occur several times."""


def beam_search(texts: Stepping, batch: int, beams: int, longest: int, device: torch.device | str = "cpu") -> list[list[int]]:
    """The most likely texts found with `beams` hypotheses for each of `batch` rows, without a penalty on length.

    A finished hypothesis stays in its beam at its score. As scores only fall, the search of a row is over when its best
    hypothesis has ended.

    Returns:
        Ids of each text without the end; at most `longest` with it.
    """
    scores = texts.step(torch.full((batch,), END, device=device))
    beams = min(beams, scores.shape[-1])
    total, tokens = scores.float().topk(beams)  # (B, K)
    texts.select(torch.arange(batch, device=device).repeat_interleave(beams))
    written, ended = tokens[..., None], tokens == END  # (B, K, T), (B, K)
    first = torch.arange(batch, device=device)[:, None] * beams
    while not bool(ended[:, 0].all()) and written.shape[-1] < longest:
        scores = texts.step(tokens.flatten()).float().unflatten(0, (batch, beams))  # (B, K, ids)
        scores = scores.masked_fill(ended[..., None], float("-inf"))
        scores[..., END] = scores[..., END].masked_fill(ended, 0.0)
        total, best = (total[..., None] + scores).flatten(1).topk(beams)
        parent, tokens = best // scores.shape[-1], best % scores.shape[-1]
        texts.select((first + parent).flatten())
        written = torch.cat([written.gather(1, parent[..., None].expand(-1, -1, written.shape[-1])), tokens[..., None]], -1)
        ended = tokens == END
    return [_until_end(row) for row in written[:, 0].tolist()]


def _until_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(END)] if END in ids else ids
