"""Hidden states of a trajectory, computed anew in every round."""

from collections.abc import Sequence

import torch

from medim.canvas import Canvas
from medim.errors import UserError
from medim.sampling.forward import Ask, Denoiser, stacked
from medim.sampling.settings import CacheSettings


class HiddenStates:
    """Hidden states of one trajectory, round by round."""

    def __init__(self, model: Denoiser, settings: CacheSettings) -> None:
        if settings.refresh > 1:
            raise UserError("cache.refresh: not built yet")
        self.model = model

    def __call__(self, canvas: Canvas, asks: Sequence[Ask]) -> tuple[torch.Tensor, int]:
        """Hidden states (R, L, width) of the rows of `stacked`, and how many positions of each were computed."""
        return self.model.hidden(*stacked(canvas, asks)), canvas.layout.length

    def changed(self, most: int) -> None:
        """Tells that so many positions of a row, at most, were revealed or masked again."""
