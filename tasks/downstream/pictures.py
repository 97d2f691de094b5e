"""Examples' images as pixels: one geometry, kept in memory where they fit, and classical augmentation."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from medim.common.streams import stream
from medim.imaging.images import square
from tasks.downstream.contract import Example

MEMORY = 1 << 30
"""Bytes of decoded images that are kept; more are read again whenever their turn comes."""

TURN, SHIFT, GAIN = np.deg2rad(5.0), 0.05, 0.1
"""Augmentation: largest rotation in radians, shift as a share of the side, relative change of brightness."""


class Pictures:
    """The images of examples as uint8 of side `side`, in RGB, padded to a square (`medim.imaging.images.square`)."""

    def __init__(self, examples: Sequence[Example], side: int) -> None:
        self.examples, self.side = examples, side
        keep = len(examples) if len(examples) * 3 * side * side <= MEMORY else 0
        self._kept = np.empty((keep, side, side, 3), np.uint8)
        self._known = np.zeros(keep, bool)

    def rows(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Images (B, 3, side, side), float32 in [-1, 1].

        Raises:
            UserError: one cannot be read.
        """
        pixels = np.stack([self._pixels(int(index)) for index in indices])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    def _pixels(self, index: int) -> np.ndarray:
        if index < len(self._known) and self._known[index]:
            return self._kept[index]
        pixels = np.asarray(square(self.examples[index].picture(), self.side))
        if index < len(self._known):
            self._kept[index], self._known[index] = pixels, True
        return pixels


def augmented(images: torch.Tensor, seed: int, first: int) -> torch.Tensor:
    """Images (B, 3, H, W) in [-1, 1], each turned about its centre, shifted and brightened or darkened a little.

    Never mirrored: left and right matter. What a turn or shift brings into view repeats the edge.

    Args:
        first: number of the first image among all that a training shows; the draws of an image depend on it and `seed` alone.
    """
    draws = np.stack([stream(seed, 2, first + row).uniform(-1, 1, 4) for row in range(len(images))])
    turn, gain = TURN * draws[:, 0], torch.from_numpy(1 + GAIN * draws[:, 3]).to(images)
    shift = 2 * SHIFT * draws[:, 1:3]  # of coordinates that go from -1 to 1
    cos, sin = np.cos(turn), np.sin(turn)
    affine = np.stack([np.stack([cos, -sin, shift[:, 0]], 1), np.stack([sin, cos, shift[:, 1]], 1)], 1)  # (B, 2, 3)
    grid = F.affine_grid(torch.from_numpy(affine).to(images), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return ((moved + 1) * gain[:, None, None, None] - 1).clamp_(-1, 1)
