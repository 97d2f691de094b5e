"""Parts of an image: from pixels to tokens, and which tokens a changed report concerns."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.common.streams import stream
from medim.sampling.forward import Denoiser, Pass

Box = tuple[int, int, int, int]  # x, y, width and height in pixels of the image as given
Mask = Image.Image | np.ndarray | Box
HIDDEN = 0.7  # share of the image that is masked in each draw of `concerned`
DRAWS = 8


def token_mask(mask: Mask, size: tuple[int, int], grid: int) -> np.ndarray:
    """The tokens (grid, grid) that any marked pixel falls on, in the geometry of `medim.imaging.images.square`. `mask`: a
    picture of the image's size, marked where it is not black; a boolean array (height, width); or a box. `size`: width and
    height of the image. Raises UserError: a mask of another size, a box outside the image, or nothing marked."""
    width, height = size
    marked = np.zeros((height, width), bool)
    if isinstance(mask, tuple):
        x, y, w, h = mask
        if min(x, y) < 0 or min(w, h) <= 0 or x + w > width or y + h > height:
            raise UserError(f"region {x},{y},{w},{h} is not inside an image of {width} x {height} pixels")
        marked[y : y + h, x : x + w] = True
    else:
        marks = np.asarray(mask.convert("L") if isinstance(mask, Image.Image) else mask) > 0
        if marks.shape != marked.shape:
            raise UserError(f"mask of shape {marks.shape} does not fit an image of {width} x {height} pixels")
        marked = marks
    if not marked.any():
        raise UserError("mask marks no pixel: nothing is to be drawn anew")
    longest = max(width, height)
    padded = np.zeros((longest, longest), bool)
    top, left = (longest - height) // 2, (longest - width) // 2
    padded[top : top + height, left : left + width] = marked
    pixel, token = np.arange(longest), np.arange(grid)[:, None]
    covers = (pixel * grid < (token + 1) * longest) & ((pixel + 1) * grid > token * longest)  # (grid, longest)
    return (covers.astype(int) @ padded @ covers.T.astype(int)) > 0


@torch.no_grad()
def concerned(model: Denoiser, before: Canvas, after: Canvas, share: float, seeds: Sequence[int]) -> torch.Tensor:
    """The image tokens that a change of report concerns; True there, (B, image_length).
    They are the fewest that hold `share` of the evidence for the new report. Each token is weighed by log p(token | some of the
    image, old report) - log p(token | the same, new report), the mean over `DRAWS` random parts of the image, and smoothed.
    `before`, `after`: the image given entirely, with the old report and with the new one (which may have gaps), (B, L).
    `seeds`: one for each sample."""
    layout = before.layout
    rows, positions = len(before.tokens), layout.image_length
    codes = before.image_codes()
    weight, counts = torch.zeros(rows, positions), torch.zeros(rows, positions)
    numbers = np.stack([stream(seed, 5).random((DRAWS, positions)) for seed in seeds], axis=1)  # (DRAWS, B, N)
    for hidden in torch.from_numpy(numbers < HIDDEN):
        parts = []
        for canvas in (before, after):
            tokens = canvas.tokens.clone()
            tokens[:, layout.image] = tokens[:, layout.image].masked_fill(hidden.to(tokens.device), layout.vocabulary.mask)
            parts.append(Canvas(layout, tokens, canvas.given))
        both = Canvas(layout, torch.cat([p.tokens for p in parts]), torch.cat([p.given for p in parts]))
        states = model.hidden(both.tokens, both.masked_fraction())[:, layout.image]
        log_p = model.logits(states, "image").float().log_softmax(-1)
        old, new = log_p.gather(-1, codes.repeat(2, 1)[..., None])[..., 0].cpu().split(rows)
        weight += torch.where(hidden, old - new, 0.0)
        counts += hidden
    return holding(weight / counts.clamp(min=1), share)


def passes_of(canvas: Canvas) -> tuple[Pass, ...]:
    """The passes of `concerned`: one for each draw, with the old and the new report."""
    rows, length = 2 * len(canvas.tokens), canvas.layout.length
    return (Pass(rows, 0, length, length, rows * canvas.layout.image_length, 0),) * DRAWS


def holding(weight: torch.Tensor, share: float) -> torch.Tensor:
    """The fewest tokens that hold `share` of all positive weight (B, N), smoothed; at least one."""
    weight = _smooth(weight)
    ordered, index = weight.sort(dim=1, descending=True)
    positive = ordered.clamp(min=0)
    before = positive.cumsum(1) - positive
    chosen = (positive > 0) & (before < share * positive.sum(1, keepdim=True))
    chosen[:, 0] = True
    return torch.zeros_like(chosen).scatter(1, index, chosen)


def largest(weight: torch.Tensor, share: float) -> torch.Tensor:
    """The `share` of tokens of largest weight (B, N), smoothed; at least one."""
    weight = _smooth(weight)
    count = max(1, round(share * weight.shape[1]))
    chosen = torch.zeros_like(weight, dtype=torch.bool)
    return chosen.scatter_(1, weight.topk(count, dim=1).indices, True)


def _smooth(weight: torch.Tensor) -> torch.Tensor:
    """Mean of each token's weight (B, N) and of its 3 x 3 neighbourhood; unchanged where the image is no square."""
    side = round(weight.shape[1] ** 0.5)
    if side * side != weight.shape[1]:
        return weight
    plane = weight.view(-1, 1, side, side)
    return ((plane + torch.nn.functional.avg_pool2d(plane, 3, 1, 1, count_include_pad=False)) / 2).flatten(1)
