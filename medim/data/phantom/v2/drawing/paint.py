"""Brushes of phantom version 2: box-filtered edges, thin strokes, and noise whose coarse part is the same at any resolution."""

import numpy as np
from PIL import Image

from medim.data.phantom.v1.draw import Field
from medim.data.phantom.v2.streams import stream

LUNG = 0.27  # brightness of aerated lung, on which contrasts of chest findings are stated


def band(distance: Field, half: float, resolution: int) -> Field:
    """Coverage of a line from each pixel's distance to its middle.

    A box filter one pixel wide: thin lines fade instead of growing, so that a picture and its reduction agree.

    Args:
        half: half of the line's width, in units of the picture's side.
    """
    pixel = 1.0 / resolution
    low, high = np.maximum(distance - 0.5 * pixel, -half), np.minimum(distance + 0.5 * pixel, half)
    return np.clip((high - low) * np.float32(resolution), 0.0, 1.0)


def brighten(image: Field, contrast: float, alpha: Field) -> None:
    """Adds an opacity in place: by `contrast` over lung, by less over what is bright already (the film's shoulder)."""
    image += alpha * (1.0 - image) * np.float32(contrast / (1.0 - LUNG))


def strokes(field: Field, starts: np.ndarray, ends: np.ndarray, half: np.ndarray, value: np.ndarray) -> None:
    """Draws N straight strokes into `field` at once, in place, keeping the larger value where they overlap.

    Args:
        field: (R, R).
        starts, ends: (N, 2) as (x, y) in units of the picture's side.
        half: (N,) half widths.
        value: (N,) peaks.
    """
    if len(starts) == 0:
        return
    resolution = field.shape[0]
    middle, along = 0.5 * (starts + ends), ends - starts
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)
    reach = int(np.ceil((0.5 * float(length.max()) + float(half.max())) * resolution + 1.0))
    offsets = np.arange(-reach, reach + 1)
    columns = np.floor(middle[:, 0] * resolution).astype(np.int32)[:, None, None] + offsets[None, None, :]  # (N, 1, K)
    rows = np.floor(middle[:, 1] * resolution).astype(np.int32)[:, None, None] + offsets[None, :, None]  # (N, K, 1)
    dx = ((columns + 0.5) / resolution - starts[:, 0, None, None]).astype(np.float32)
    dy = ((rows + 0.5) / resolution - starts[:, 1, None, None]).astype(np.float32)
    ux, uy = (along / length[:, None]).astype(np.float32).T[:, :, None, None]
    far = np.clip(dx * ux + dy * uy, 0.0, length[:, None, None].astype(np.float32))
    distance = np.hypot(dx - far * ux, dy - far * uy)  # (N, K, K)
    pixel = np.float32(1.0 / resolution)
    wide = half[:, None, None].astype(np.float32)
    covered = np.minimum(distance + 0.5 * pixel, wide) - np.maximum(distance - 0.5 * pixel, -wide)
    drawn = np.clip(covered / pixel, 0.0, 1.0) * value[:, None, None].astype(np.float32)
    visible = (drawn > 0) & (columns >= 0) & (columns < resolution) & (rows >= 0) & (rows < resolution)
    np.maximum.at(field.reshape(-1), (rows * resolution + columns)[visible], drawn[visible])


def octave(rng: np.random.Generator, cells: int, resolution: int) -> Field:
    """Unit-variance white noise on a grid of `cells` x `cells`, interpolated to (R, R)."""
    noise = rng.standard_normal((cells, cells), dtype=np.float32)
    if cells == resolution:
        return noise
    return np.asarray(Image.fromarray(noise).resize((resolution, resolution), Image.Resampling.BICUBIC))


def noise(split: str, index: int, layer: int, resolution: int, cells: tuple[int, ...]) -> Field:
    """Sum of octaves (R, R) of about unit variance; those finer than the picture are left out.

    Args:
        layer: which of the case's noise layers: each has streams of its own.
        cells: grids from coarse to fine; those up to R are drawn.
    """
    total = np.zeros((resolution, resolution), np.float32)
    for size in cells:
        if size <= resolution:
            total += octave(stream(split, "noise", index, layer, size), size, resolution)
    return total
