"""Tiles of whole slides at a stated resolution, read through OpenSlide from the pyramid level that suits it best."""

import math
import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from medim.common.errors import UserError

try:
    import openslide
except ImportError:
    raise UserError("reading whole slides needs OpenSlide: pip install 'medim-bench[archives]'") from None

MAX_ENLARGEMENT = 1.1
"""How much finer than the scan a tile may be asked for. Scanners of one nominal objective differ by some percent."""

MAX_PIXELS = 1 << 27
"""Pixels of a level that one tile may be made of (0.5 GB as RGBA): a slide without a pyramid is not read as a whole."""

_LEVEL_TOLERANCE = 1.01
_MICRONS_TIMES_POWER = 10.0


@dataclass(frozen=True)
class SlideFacts:
    """What a slide's header tells.

    Attributes:
        path: its file.
        width: of level 0, pixels.
        height: of level 0, pixels.
        downsamples: of each level against level 0; the first is 1.
        microns_per_pixel: of level 0, along x and y; None where the slide does not tell.
        objective_power: of the scanner, such as 20 or 40; None where the slide does not tell.
    """

    path: Path
    width: int
    height: int
    downsamples: tuple[float, ...]
    microns_per_pixel: tuple[float, float] | None
    objective_power: float | None

    def scaled_by_objective(self) -> "SlideFacts":
        """The same slide; where it states no microns per pixel, 10 / objective power stands in (20x: 0.5, 40x: 0.25).

        That is the rule of thumb of the common scanners, not a measurement: real 40x scans lie between 0.23 and 0.27.
        """
        if self.microns_per_pixel is not None or self.objective_power is None:
            return self
        scale = _MICRONS_TIMES_POWER / self.objective_power
        return replace(self, microns_per_pixel=(scale, scale))

    def field(self, tile: int, microns_per_pixel: float | None) -> tuple[float, float]:
        """Width and height, in pixels of level 0, of what a tile of `tile` pixels shows; None means level 0 as it is.

        Raises:
            UserError: the slide does not tell its scale, or was scanned too coarsely.
        """
        if microns_per_pixel is None:
            return float(tile), float(tile)
        if self.microns_per_pixel is None:
            raise UserError(f"slide '{self.path}' does not tell its microns per pixel")
        coarsest = max(self.microns_per_pixel)
        if coarsest > microns_per_pixel * MAX_ENLARGEMENT:
            raise UserError(
                f"slide '{self.path}' was scanned at {coarsest:g} microns per pixel; "
                f"a tile at {microns_per_pixel:g} would be enlarged, not read"
            )
        x_scale, y_scale = self.microns_per_pixel
        return tile * microns_per_pixel / x_scale, tile * microns_per_pixel / y_scale


@dataclass(frozen=True)
class Region:
    """Where a tile lies and how it is to be read.

    Attributes:
        x: left edge, pixels of level 0.
        y: upper edge, pixels of level 0.
        width: pixels of level 0, not rounded.
        height: pixels of level 0, not rounded.
        level: of the pyramid, to read from.
        downsample: of that level.
        tile: side of the tile, pixels.
        microns_per_pixel: of the tile; None where the slide does not tell.
    """

    x: int
    y: int
    width: float
    height: float
    level: int
    downsample: float
    tile: int
    microns_per_pixel: float | None


@dataclass(frozen=True)
class Tile:
    """A square RGB picture, the pyramid level it was read from, and its microns per pixel (None: the slide does not tell)."""

    image: Image.Image
    level: int
    microns_per_pixel: float | None


def plan(facts: SlideFacts, x: int, y: int, tile: int, microns_per_pixel: float | None = None) -> Region:
    """The region of a tile whose upper left corner is pixel (x, y) of level 0, and the level to read it from.

    That level is the coarsest which still has the resolution asked for (within 1 %: a pyramid's levels are rounded to whole
    pixels), so a tile is only ever shrunk.

    Args:
        tile: side of the tile, pixels.
        microns_per_pixel: of the tile; None takes level 0 as it is.

    Raises:
        UserError: the region leaves the slide, is too large to be read, or `SlideFacts.field` refuses.
    """
    width, height = facts.field(tile, microns_per_pixel)
    if x < 0 or y < 0 or x + width > facts.width + 0.5 or y + height > facts.height + 0.5:
        raise UserError(
            f"slide '{facts.path}' has {facts.width} x {facts.height} pixels; "
            f"the tile of {width:g} x {height:g} at ({x}, {y}) leaves it"
        )
    wanted = min(width, height) / tile * _LEVEL_TOLERANCE
    level, downsample = max(
        ((level, value) for level, value in enumerate(facts.downsamples) if value <= wanted),
        key=lambda pair: pair[1],
        default=(0, facts.downsamples[0]),
    )
    if width * height / downsample**2 > MAX_PIXELS:
        raise UserError(
            f"slide '{facts.path}' has no level near the resolution asked for: a tile would be made of "
            f"{width / downsample:.0f} x {height / downsample:.0f} pixels of level {level}"
        )
    if microns_per_pixel is None and facts.microns_per_pixel is not None:
        microns_per_pixel = math.sqrt(math.prod(facts.microns_per_pixel))
    return Region(x, y, width, height, level, downsample, tile, microns_per_pixel)


class Slides:
    """Slides kept open, the least recently used of more than `capacity` closed.

    A copy in another process (pickled or forked) opens its own: two processes must not share a file position.

    Args:
        capacity: each open slide takes its tile cache, at most 32 MB.
    """

    def __init__(self, capacity: int = 4) -> None:
        self.capacity = capacity
        self._process = os.getpid()
        self._open: OrderedDict[Path, tuple[openslide.OpenSlide, SlideFacts]] = OrderedDict()

    def __reduce__(self) -> tuple[type["Slides"], tuple[int]]:
        return Slides, (self.capacity,)

    def __enter__(self) -> "Slides":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes every slide."""
        while self._open:
            self._open.popitem()[1][0].close()

    def facts(self, path: str | Path) -> SlideFacts:
        """What the header of a slide tells; the slide stays open.

        Raises:
            UserError: it is missing, damaged, or no slide.
        """
        return self._slide(Path(path))[1]

    def read(self, path: str | Path, region: Region) -> Tile:
        """A region of a slide, transparency (what was never scanned) composited on white.

        Shrinking is bicubic with widened support (antialiased); where the level has the size asked for, pixels are as stored.

        Raises:
            UserError: the slide cannot be read there.
        """
        path = Path(path)
        slide, facts = self._slide(path)
        columns, rows = slide.level_dimensions[region.level]
        # On the level's own grid, so that OpenSlide does not interpolate; the fraction goes to the resize.
        left, top = region.x / region.downsample, region.y / region.downsample
        column, row = math.floor(left), math.floor(top)
        box = (left - column, top - row, left - column + region.width / region.downsample,
               top - row + region.height / region.downsample)  # fmt: skip
        size = (min(math.ceil(box[2] - 1e-6), columns - column), min(math.ceil(box[3] - 1e-6), rows - row))
        try:
            rgba = slide.read_region((round(column * region.downsample), round(row * region.downsample)), region.level, size)
        except (openslide.OpenSlideError, OSError) as error:
            self._forget(path)  # OpenSlide refuses everything after an error; other tiles may be sound
            raise UserError(f"slide '{facts.path}' is damaged at ({region.x}, {region.y}): {error}") from None
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")
        if image.size != (region.tile, region.tile) or box[:2] != (0, 0) or box[2:] != image.size:
            box = (box[0], box[1], min(box[2], float(size[0])), min(box[3], float(size[1])))
            image = image.resize((region.tile, region.tile), Image.Resampling.BICUBIC, box=box)
        return Tile(image, region.level, region.microns_per_pixel)

    def _slide(self, path: Path) -> tuple["openslide.OpenSlide", SlideFacts]:
        if self._process != os.getpid():
            self._process, self._open = os.getpid(), OrderedDict()
        if path not in self._open:
            self._open[path] = _open(path)
            while len(self._open) > self.capacity:
                self._open.popitem(last=False)[1][0].close()
        self._open.move_to_end(path)
        return self._open[path]

    def _forget(self, path: Path) -> None:
        self._open.pop(path)[0].close()


def read_tile(slide_path: str | Path, x: int, y: int, tile: int, microns_per_pixel: float | None = None) -> Tile:
    """One tile of one slide, whose upper left corner is pixel (x, y) of level 0; for many of them see `Slides`.

    Args:
        tile: side of the tile, pixels.
        microns_per_pixel: of the tile; None takes level 0 as it is.

    Raises:
        UserError: the slide is missing or damaged, does not tell its scale, was scanned too coarsely, or the region leaves it.
    """
    with Slides(1) as slides:
        return slides.read(slide_path, plan(slides.facts(slide_path), x, y, tile, microns_per_pixel))


def _open(path: Path) -> tuple["openslide.OpenSlide", SlideFacts]:
    if not path.is_file():
        raise UserError(f"slide '{path}' does not exist")
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise UserError(f"slide '{path}' cannot be opened: no format that OpenSlide knows, or cut in its header") from None
    except (openslide.OpenSlideError, OSError) as error:
        raise UserError(f"slide '{path}' cannot be opened: {error}") from None
    properties = slide.properties
    scales = tuple(_positive(properties.get(name)) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y))
    facts = SlideFacts(
        path,
        *slide.dimensions,
        downsamples=slide.level_downsamples,
        microns_per_pixel=None if None in scales else scales,  # type: ignore[arg-type]
        objective_power=_positive(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
    )
    return slide, facts


def _positive(text: str | None) -> float | None:
    """A property as a positive number; None where it is missing or none (scanners write 0 for what they do not know)."""
    try:
        value = float(text) if text is not None else 0.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
