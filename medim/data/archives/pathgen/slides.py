"""Tiles of whole slides at a stated resolution, read through OpenSlide from the pyramid level that suits it best."""

import math
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from medim.common.errors import UserError

try:
    import openslide
except ImportError:
    raise UserError("reading whole slides needs OpenSlide: pip install 'medim-bench[archives]'") from None

MAX_ENLARGEMENT = 1.1  # by how much a tile may be finer than the scan. Scanners of one nominal objective differ by some percent

MAX_PIXELS = 1 << 27
"""Pixels of a level that one tile may be made of (0.5 GB as RGBA): a slide without a pyramid is not read as a whole."""

_LEVEL_TOLERANCE = 1.01  # a pyramid's levels are rounded to whole pixels
_MICRONS_TIMES_POWER = 10.0
_SUFFIX = ".svs"


class SlideIndex:
    """Slides of a folder by name; `name.svs` may lie anywhere below (the GDC client makes a folder for each file).
    Folders that are links are followed, each folder once. Of two files of one name the first in path order counts. `partial`
    has the names of which only an unfinished download (`.svs.partial`) is there."""

    def __init__(self, folder: Path) -> None:
        self.paths: dict[str, Path] = {}
        self.partial: set[str] = set()
        for path in sorted(_files(folder)):
            name = path.name.lower()
            if name.endswith(_SUFFIX):
                self.paths.setdefault(name.removesuffix(_SUFFIX), path)
            elif name.endswith(f"{_SUFFIX}.partial"):
                self.partial.add(name.removesuffix(f"{_SUFFIX}.partial"))

    def find(self, name: str) -> Path | None:
        """The slide called `name` (case does not count). `BARCODE.UUID` also finds a file called `BARCODE` alone."""
        name = name.lower()
        return self.paths.get(name) or self.paths.get(name.partition(".")[0])


def _files(folder: Path) -> Iterator[Path]:
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in names)


@dataclass(frozen=True)
class SlideFacts:
    """The header of a slide."""

    path: Path
    # width, height: of level 0, pixels
    width: int
    height: int
    downsamples: tuple[float, ...]  # of each level against level 0; the first is 1
    microns_per_pixel: tuple[float, float] | None  # of level 0, along x and y; None where the slide does not state it
    objective_power: float | None  # of the scanner, such as 20 or 40; None where the slide does not state it

    def scaled_by_objective(self) -> "SlideFacts":
        """The same slide; where it states no microns per pixel, 10 / objective power stands in (20x: 0.5, 40x: 0.25).
        That is the rule of thumb of the common scanners, not a measurement: real 40x scans lie between 0.23 and 0.27."""
        if self.microns_per_pixel is not None or self.objective_power is None:
            return self
        scale = _MICRONS_TIMES_POWER / self.objective_power
        return replace(self, microns_per_pixel=(scale, scale))

    def field(self, tile: int, microns_per_pixel: float | None) -> tuple[float, float]:
        """Width and height, in pixels of level 0, of what a tile of `tile` pixels shows; None means level 0 as it is.
        Raises UserError: the slide does not state its scale, or was scanned too coarsely."""
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
    """A tile of `tile` x `tile` pixels and how it is read."""

    # x, y, width, height: of the tile, pixels of level 0; the sides are not rounded
    x: int
    y: int
    width: float
    height: float
    # level, downsample: of the pyramid, to read from
    level: int
    downsample: float
    tile: int
    microns_per_pixel: float | None  # of the tile; None where the slide does not state it


def plan(facts: SlideFacts, x: int, y: int, tile: int, microns_per_pixel: float | None = None) -> Region:
    """The region of a tile whose upper left corner is pixel (x, y) of level 0, and the level to read it from.
    That level is the coarsest that still has the resolution (within 1 %), so a tile is only ever shrunk.
    `tile`: side of the tile, pixels.
    `microns_per_pixel`: of the tile; None takes level 0 as it is.
    Raises UserError: the region leaves the slide, is too large to be read, or `SlideFacts.field` refuses."""
    width, height = facts.field(tile, microns_per_pixel)
    if x < 0 or y < 0 or x + width > facts.width + 0.5 or y + height > facts.height + 0.5:
        raise UserError(
            f"slide '{facts.path}' has {facts.width} x {facts.height} pixels; "
            f"the tile of {width:g} x {height:g} at ({x}, {y}) leaves it"
        )
    finest = min(width, height) / tile * _LEVEL_TOLERANCE
    suitable = [(level, value) for level, value in enumerate(facts.downsamples) if value <= finest]
    level, downsample = max(suitable, key=lambda pair: pair[1], default=(0, facts.downsamples[0]))
    if width * height / downsample**2 > MAX_PIXELS:
        raise UserError(
            f"slide '{facts.path}' has no level near the wanted resolution: a tile would be made of "
            f"{width / downsample:.0f} x {height / downsample:.0f} pixels of level {level}"
        )
    if microns_per_pixel is None and facts.microns_per_pixel is not None:
        microns_per_pixel = math.sqrt(math.prod(facts.microns_per_pixel))
    return Region(x, y, width, height, level, downsample, tile, microns_per_pixel)


class Slides:
    """Open slides; of more than `capacity` the least recently used are closed. Each takes its tile cache, at most 32 MB.
    A copy in another process (pickled or forked) opens its own: two processes must not share a file position."""

    def __init__(self, capacity: int = 4) -> None:
        self.capacity = capacity
        self._process = os.getpid()
        self._open: OrderedDict[Path, tuple[openslide.OpenSlide, SlideFacts]] = OrderedDict()

    def __reduce__(self) -> tuple[type["Slides"], tuple[int]]:
        return Slides, (self.capacity,)

    def __enter__(self) -> "Slides":
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1][0].close()

    def facts(self, path: str | Path) -> SlideFacts:
        """The header of a slide; the slide stays open. Raises UserError: it is missing, damaged, or no slide."""
        return self._slide(Path(path))[1]

    def read(self, path: str | Path, region: Region) -> Image.Image:
        """A region of a slide, RGB; transparency (what was never scanned) is composited on white.
        Shrinking is bicubic with widened support (antialiased); where the level has the size of the tile, pixels are as stored.
        Raises UserError: the slide cannot be read there."""
        path = Path(path)
        slide, facts = self._slide(path)
        columns, rows = slide.level_dimensions[region.level]
        # On the level's own grid, so that OpenSlide does not interpolate; the fraction goes to the resize.
        left, top = region.x / region.downsample, region.y / region.downsample
        width, height = region.width / region.downsample, region.height / region.downsample
        column, row = math.floor(left), math.floor(top)
        box = (left - column, top - row, left - column + width, top - row + height)
        size = (min(math.ceil(box[2] - 1e-6), columns - column), min(math.ceil(box[3] - 1e-6), rows - row))
        try:
            rgba = slide.read_region((round(column * region.downsample), round(row * region.downsample)), region.level, size)
        except (openslide.OpenSlideError, OSError) as error:
            self._open.pop(path)[0].close()  # OpenSlide refuses everything after an error; other tiles may be sound
            raise UserError(f"slide '{facts.path}' is damaged at ({region.x}, {region.y}): {error}") from None
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")
        if image.size == (region.tile, region.tile) and box == (0, 0, *image.size):
            return image
        box = (box[0], box[1], min(box[2], float(size[0])), min(box[3], float(size[1])))
        return image.resize((region.tile, region.tile), Image.Resampling.BICUBIC, box=box)

    def _slide(self, path: Path) -> tuple["openslide.OpenSlide", SlideFacts]:
        if self._process != os.getpid():
            self._process, self._open = os.getpid(), OrderedDict()
        if path not in self._open:
            self._open[path] = _open(path)
            while len(self._open) > self.capacity:
                self._open.popitem(last=False)[1][0].close()
        self._open.move_to_end(path)
        return self._open[path]


def _open(path: Path) -> tuple["openslide.OpenSlide", SlideFacts]:
    if not path.is_file():
        raise UserError(f"slide '{path}' does not exist")
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise UserError(f"slide '{path}' cannot be opened: no format that OpenSlide knows, or cut in its header") from None
    except (openslide.OpenSlideError, OSError) as error:
        raise UserError(f"slide '{path}' cannot be opened: {error}") from None
    x_scale, y_scale, power = (
        _positive(slide.properties.get(name))
        for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y, openslide.PROPERTY_NAME_OBJECTIVE_POWER)
    )
    scales = None if x_scale is None or y_scale is None else (x_scale, y_scale)
    return slide, SlideFacts(path, *slide.dimensions, slide.level_downsamples, scales, power)


def _positive(text: str | None) -> float | None:
    """A property as a positive number; None where it is missing or none (scanners write 0 for what they do not know)."""
    try:
        value = float(text) if text is not None else 0.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
