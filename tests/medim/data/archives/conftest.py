"""A tiled pyramid that OpenSlide takes for an Aperio slide."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

WIDTH, HEIGHT = 2048, 1536


def _blocks(width: int, height: int, level: int) -> np.ndarray:
    """(H, W, 3): blocks of 32 pixels of level 0, each of its own red and green; blue tells the level."""
    scale = 4**level
    y, x = np.mgrid[:height, :width] * scale // 32
    return np.stack([x * 3, y * 4, np.full_like(x, 50 + 60 * level)], -1).astype(np.uint8)


def _write_slide(
    path: Path, levels: list[np.ndarray] | None = None, mpp: str | None = "0.25", power: str | None = "40"
) -> Path:
    """A tiled pyramid TIFF that OpenSlide takes for Aperio's."""
    levels = levels or [_blocks(WIDTH >> 2 * k, HEIGHT >> 2 * k, k) for k in range(3)]
    height, width = levels[0].shape[:2]
    description = f"Aperio Image Library v11.2.1 \r\n{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=70"
    description += f"|AppMag = {power}" if power else ""
    description += f"|MPP = {mpp}" if mpp else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as tiff:
        for level in levels:
            tiff.write(level, tile=(256, 256), photometric="rgb", compression="zlib", description=description, metadata=None)
    return path


@pytest.fixture(scope="session")
def blocks() -> Callable[..., np.ndarray]:
    """The pixels of a level: `blocks(width, height, level)`."""
    return _blocks


@pytest.fixture(scope="session")
def write_slide() -> Callable[..., Path]:
    """Writes a slide of 2048 x 1536 pixels in three levels, or of other ones: `write_slide(path, levels, mpp, power)`."""
    return _write_slide
