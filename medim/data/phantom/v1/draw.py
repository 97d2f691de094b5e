"""Drawing on normalised coordinates: anti-aliased edges, blended layers, stamped discs, film grain.

A field is a float32 array (R, R), row-major, for a picture of R x R pixels; coordinates run over [0, 1] with y pointing down,
so the same numbers give the same picture at any resolution.
"""

from functools import lru_cache

import numpy as np
from PIL import Image

Field = np.ndarray
GRAIN = 64  # grain is drawn on this grid and interpolated: it looks the same at every resolution


@lru_cache(maxsize=8)
def grid(resolution: int) -> tuple[Field, Field]:
    """Pixel-centre coordinates (x, y), each (R, R), read-only."""
    centres = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
    x, y = np.meshgrid(centres, centres)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def inside(distance: Field, soft: float) -> Field:
    """Coverage in [0, 1] from a signed distance (negative inside): a linear ramp of half-width `soft`."""
    return np.clip(0.5 - distance * np.float32(0.5 / soft), 0.0, 1.0)


def blend(image: Field, value: Field | float, alpha: Field) -> None:
    """Lays `value` over `image` with opacity `alpha`, in place."""
    image += (value - image) * alpha


def segment_distance(x: Field, y: Field, start: tuple[float, float], end: tuple[float, float]) -> Field:
    """Distance of each pixel to a line segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    return np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)


def stamp(
    field: Field, x: np.ndarray, y: np.ndarray, radius: np.ndarray, aspect: np.ndarray, angle: np.ndarray, value: np.ndarray
) -> None:
    """Draws N soft-edged ellipses into `field` at once, in place, keeping the larger value where they overlap.

    Args:
        field: (R, R).
        x, y, radius, aspect, angle, value: (N,) centres, half of the long axis, short axis over long, radians, peak.
    """
    resolution = field.shape[0]
    if len(x) == 0:
        return
    reach = int(np.ceil(float(radius.max()) * resolution + 1.0))
    offsets = np.arange(-reach, reach + 1)
    columns = np.floor(x * resolution).astype(np.int64)[:, None, None] + offsets[None, None, :]  # (N, 1, K)
    rows = np.floor(y * resolution).astype(np.int64)[:, None, None] + offsets[None, :, None]  # (N, K, 1)
    dx = (columns + 0.5) / resolution - x[:, None, None]
    dy = (rows + 0.5) / resolution - y[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    long = dx * cos + dy * sin
    short = (dy * cos - dx * sin) / aspect[:, None, None]
    distance = np.sqrt(long * long + short * short) - radius[:, None, None]
    drawn = inside(distance, 0.75 / resolution) * value[:, None, None]  # (N, K, K)
    visible = (drawn > 0) & (columns >= 0) & (columns < resolution) & (rows >= 0) & (rows < resolution)
    flat = (rows * resolution + columns)[visible]
    np.maximum.at(field.reshape(-1), flat, drawn[visible].astype(np.float32))


def grain(rng: np.random.Generator, resolution: int) -> Field:
    """Unit-variance film grain (R, R): white noise on a 64 x 64 grid, interpolated to the picture's."""
    noise = rng.standard_normal((GRAIN, GRAIN), dtype=np.float32)
    if resolution == GRAIN:
        return noise
    return np.asarray(Image.fromarray(noise).resize((resolution, resolution), Image.Resampling.BILINEAR))
