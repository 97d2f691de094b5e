"""Drawing on normalised coordinates: anti-aliased edges, blended layers, stamped discs, strokes, grain.
A field is a float32 array (R, R), row-major, for a picture of R x R pixels; coordinates run over [0, 1] with y pointing down,
so the same numbers give the same picture at any resolution."""

from functools import lru_cache

import numpy as np
from PIL import Image

Field = np.ndarray


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


def band(distance: Field, half: float, resolution: int) -> Field:
    """Coverage of a line from each pixel's distance to its middle. A box filter one pixel wide: thin lines fade instead of
    growing, so that a picture and its reduction agree. `half`: half of the line's width, in units of the picture's side."""
    pixel = 1.0 / resolution
    low, high = np.maximum(distance - 0.5 * pixel, -half), np.minimum(distance + 0.5 * pixel, half)
    return np.clip((high - low) * np.float32(resolution), 0.0, 1.0)


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
    """Draws N soft-edged ellipses into `field` (R, R) at once, in place, keeping the larger value where they overlap.
    `x`, `y`, `radius`, `aspect`, `angle`, `value`: (N,) centres, half of the long axis, short axis over long, radians, peak."""
    if len(x) == 0:
        return
    resolution = field.shape[0]
    columns, rows = _windows(x, y, float(radius.max()), resolution)
    dx = (columns + 0.5) / resolution - x[:, None, None]
    dy = (rows + 0.5) / resolution - y[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    long = dx * cos + dy * sin
    short = (dy * cos - dx * sin) / aspect[:, None, None]
    distance = np.sqrt(long * long + short * short) - radius[:, None, None]
    _lay(field, columns, rows, inside(distance, 0.75 / resolution) * value[:, None, None])


def strokes(field: Field, starts: np.ndarray, ends: np.ndarray, half: np.ndarray, value: np.ndarray) -> None:
    """Draws N straight strokes into `field` (R, R) at once, in place, keeping the larger value where they overlap.
    `starts`, `ends`, `half`, `value`: (N, 2) as (x, y), (N, 2), (N,) half widths, (N,) peaks."""
    if len(starts) == 0:
        return
    resolution = field.shape[0]
    middle, along = 0.5 * (starts + ends), ends - starts
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)
    columns, rows = _windows(middle[:, 0], middle[:, 1], 0.5 * float(length.max()) + float(half.max()), resolution)
    dx = ((columns + 0.5) / resolution - starts[:, 0, None, None]).astype(np.float32)
    dy = ((rows + 0.5) / resolution - starts[:, 1, None, None]).astype(np.float32)
    ux, uy = (along / length[:, None]).astype(np.float32).T[:, :, None, None]
    far = np.clip(dx * ux + dy * uy, 0.0, length[:, None, None].astype(np.float32))
    distance = np.hypot(dx - far * ux, dy - far * uy)  # (N, K, K)
    pixel = np.float32(1.0 / resolution)
    wide = half[:, None, None].astype(np.float32)
    covered = np.minimum(distance + 0.5 * pixel, wide) - np.maximum(distance - 0.5 * pixel, -wide)
    _lay(field, columns, rows, np.clip(covered / pixel, 0.0, 1.0) * value[:, None, None].astype(np.float32))


def _windows(x: np.ndarray, y: np.ndarray, reach: float, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns (N, 1, K) and rows (N, K, 1) of the pixels within `reach` of N centres."""
    pixels = int(np.ceil(reach * resolution + 1.0))
    offsets = np.arange(-pixels, pixels + 1)
    columns = np.floor(x * resolution).astype(np.int64)[:, None, None] + offsets[None, None, :]
    rows = np.floor(y * resolution).astype(np.int64)[:, None, None] + offsets[None, :, None]
    return columns, rows


def _lay(field: Field, columns: np.ndarray, rows: np.ndarray, drawn: np.ndarray) -> None:
    """Keeps the larger of the field and of N windows (N, K, K), where they lie within it."""
    resolution = field.shape[0]
    visible = (drawn > 0) & (columns >= 0) & (columns < resolution) & (rows >= 0) & (rows < resolution)
    flat = (rows * resolution + columns)[visible]
    np.maximum.at(field.reshape(-1), flat, drawn[visible].astype(np.float32))


def grid_noise(rng: np.random.Generator, cells: int, resolution: int, filter: Image.Resampling) -> Field:
    """Unit-variance white noise on a grid of `cells` x `cells`, interpolated to (R, R)."""
    noise = rng.standard_normal((cells, cells), dtype=np.float32)
    if cells == resolution:
        return noise
    return np.asarray(Image.fromarray(noise).resize((resolution, resolution), filter))


def to_image(values: Field) -> Image.Image:
    """An RGB image of values in [0, 1]: (R, R), grey, or (R, R, 3)."""
    levels = np.rint(values * 255.0).astype(np.uint8)
    return Image.fromarray(levels if levels.ndim == 3 else np.repeat(levels[:, :, None], 3, axis=2))


def lung_distance(outwards: Field, y: Field, width: float, apex: float, angle: float, shrink: float = 0.0) -> Field:
    """Signed distance (about) to the border of a lung; `shrink` pulls the apex and the outer wall inwards. `outwards`: distance
    of each pixel from the midline. `angle`: height of the costophrenic angle."""
    top = apex + shrink
    rise = np.clip((0.56 - y) / (0.56 - top), 0.0, 1.0)
    outer = (width - shrink) * np.sqrt(1.0 - rise * rise) + 0.02 * np.maximum(y - 0.56, 0.0)
    dome = (outwards - 0.2) / 0.19
    floor = angle - 0.05 * (1.0 - dome * dome)
    return np.maximum(np.maximum(0.075 - outwards, outwards - outer), np.maximum(y - floor, top - y))


# Absorbance per unit of concentration in red, green, blue.
HAEMATOXYLIN = np.array([0.70, 0.74, 0.34], np.float32)
EOSIN = np.array([0.10, 0.80, 0.38], np.float32)
LYMPHOCYTE = np.array([1.05, 0.95, 0.52], np.float32)
MELANIN = np.array([0.60, 1.05, 1.60], np.float32)


class Stains:
    """A patch being stained: concentrations (R, R) of haematoxylin (in nuclei, and diffuse), eosin, melanin, ... `x`, `y`:
    coordinates of each pixel. `eosin`: set by the version that draws the stroma."""

    eosin: Field

    def __init__(self, resolution: int) -> None:
        self.resolution = resolution
        self.x, self.y = grid(resolution)
        shape = (resolution, resolution)
        self.nuclei, self.lymphocytes = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.melanin, self.debris = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.basophilia = np.full(shape, 0.06, np.float32)

    def absorbance(self, haematoxylin: float, eosin: float, warmth: float, debris: np.ndarray) -> Field:
        """Absorbed by the stains (R, R, 3): Beer-Lambert. `haematoxylin`, `eosin`: relative strengths of the staining.
        `warmth`: shifts eosin between magenta and orange. `debris`: absorbance of necrotic debris, (3,)."""
        pink = EOSIN * np.array([1.0 - warmth, 1.0, 1.0 + 2.0 * warmth], np.float32) * np.float32(eosin)
        bare = np.clip(1.0 - self.nuclei - self.lymphocytes - self.melanin, 0.25, 1.0)  # cells displace stroma
        total = (self.eosin * bare)[:, :, None] * pink
        total += ((self.nuclei + self.basophilia) * np.float32(haematoxylin))[:, :, None] * HAEMATOXYLIN
        total += self.lymphocytes[:, :, None] * LYMPHOCYTE
        total += self.melanin[:, :, None] * MELANIN + self.debris[:, :, None] * debris
        return total


def packed(rng: np.random.Generator, x: float, y: float, radius: float, count: int, jitter: float) -> np.ndarray:
    """`count` points (N, 2) spread evenly over a disc (sunflower), each moved by a normal `jitter`."""
    k = np.arange(count) + 0.5
    reach, turn = radius * np.sqrt(k / count), k * np.pi * (3.0 - np.sqrt(5.0)) + float(rng.uniform(0, 2 * np.pi))
    xy = np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)
    return xy + rng.normal(0.0, jitter, xy.shape)
