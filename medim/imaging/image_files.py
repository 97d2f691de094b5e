"""The header of an image's file: how many pixels it declares, checked before they are decoded."""

import os
import re
import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from medim.common.errors import UserError

VARIABLE = "MEDIM_MAX_PIXELS"
LARGEST = 8192 * 8192
"""Pixels that an image may have, some 1 GB while it is read; radiographs have up to 30 million. Slides are read in parts."""


class GeometryError(ValueError):
    """An image declares more pixels than are allowed."""


def open_image(file: BinaryIO | Path) -> Image.Image:
    """An image of which only the header is read. Raises GeometryError: it declares more pixels than are allowed. Raises
    OSError: and whatever else Pillow raises where it is no image."""
    Image.MAX_IMAGE_PIXELS = _allowed()  # for what lies inside of other formats: Pillow refuses twice as many by itself
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):  # refused below
            image = Image.open(file)
    except Image.DecompressionBombError as error:
        raise _too_many(int(re.search(r"\d+", str(error))[0])) from None  # type: ignore[index]
    try:
        check_geometry(*image.size)
    except GeometryError:
        image.close()
        raise
    return image


def check_geometry(width: int, height: int) -> None:
    """Refuses an image by the size that its header declares. Raises GeometryError: more pixels than are allowed."""
    if width * height > _allowed():
        raise _too_many(width * height, f"{width} x {height} = ")


def backslash_hint(path: str | Path) -> str:
    """What to add to the news that a file is missing, where its path is written as Windows writes them."""
    return r"; its path is written with '\': write it with '/'" if "\\" in str(path) else ""


def _allowed() -> int:
    given = os.environ.get(VARIABLE, "").replace("_", "")
    if given and not re.fullmatch(r"[1-9]\d{0,17}", given):
        raise UserError(f"{VARIABLE} must be a number of pixels, not '{given}'")
    return int(given) if given else LARGEST


def _too_many(pixels: int, sides: str = "") -> "GeometryError":
    return GeometryError(
        f"it declares {sides}{pixels:,} pixels and {_allowed():,} are allowed; {VARIABLE}=N in the environment, or "
        "`data prepare --max-pixels N`, allows N"
    )
