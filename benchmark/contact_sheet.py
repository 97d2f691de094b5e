"""One picture of many samples: the images in a grid, what stands under each in small print."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from medim.files import atomic_path

CELL = 192  # pixels an image is shown at
MARGIN = 12
LINES, LINE_HEIGHT, CHARACTERS = 8, 13, 34
MOST = 64


def write_contact_sheet(path: Path, images: Sequence[Image.Image], captions: Sequence[str | None]) -> None:
    """Writes a PNG of at most `MOST` images, small ones enlarged without smoothing, each with its caption (None: none).

    Raises:
        ValueError: no images.
    """
    shown = list(zip(images, captions, strict=True))[:MOST]
    if not shown:
        raise ValueError("a contact sheet needs an image")
    columns = min(len(shown), 6 if len(shown) > 8 else 4)
    rows = -(-len(shown) // columns)
    height = CELL + (LINES * LINE_HEIGHT + 6 if any(caption for _, caption in shown) else 0)
    sheet = Image.new("RGB", (columns * (CELL + MARGIN) + MARGIN, rows * (height + MARGIN) + MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for index, (image, caption) in enumerate(shown):
        left = MARGIN + index % columns * (CELL + MARGIN)
        top = MARGIN + index // columns * (height + MARGIN)
        sheet.paste(_fitted(image), (left, top))
        for number, line in enumerate(_wrapped(caption or "")):
            draw.text((left, top + CELL + 6 + number * LINE_HEIGHT), line, fill="black", font=font)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _fitted(image: Image.Image) -> Image.Image:
    scale = CELL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _wrapped(text: str) -> list[str]:
    lines = textwrap.wrap(text, CHARACTERS)
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], lines[LINES - 1][: CHARACTERS - 2] + " …"]
