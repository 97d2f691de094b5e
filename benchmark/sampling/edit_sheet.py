"""Edits to look at: before, what was drawn anew, after; the report as it was and as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmark.sampling.contact_sheet import CELL, MARGIN, filled, fitted
from medim.common.files import atomic_path

MOST = 32
TEXT_WIDTH = 380
_SIZE, _LEADING = 12, 16
_INK, _DIM, _MARK = (20, 20, 20), (110, 110, 110), (255, 120, 0)


@dataclass(frozen=True)
class EditRow:
    """One edit.

    Attributes:
        before, after: images of one size.
        redrawn: tokens that were drawn anew, (grid, grid).
        head: what was asked, in a line.
        reports: before and after.
    """

    before: Image.Image
    after: Image.Image
    redrawn: np.ndarray
    head: str
    reports: tuple[str, str]


def marked(image: Image.Image, redrawn: np.ndarray) -> Image.Image:
    """The image, dimmed where it stays, with the tokens drawn anew outlined."""
    picture = image.convert("RGB").resize((CELL, CELL), Image.Resampling.NEAREST)
    grid = redrawn.shape[0]
    edges = np.round(np.arange(grid + 1) * CELL / grid).astype(int)
    shown = np.zeros((CELL, CELL), bool)
    for row, column in np.argwhere(redrawn):
        shown[edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = True
    pixels = np.asarray(picture, dtype=np.float32)
    picture = Image.fromarray(np.where(shown[..., None], pixels, 0.4 * pixels).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for row, column in np.argwhere(redrawn):
        box = (edges[column], edges[row], edges[column + 1] - 1, edges[row + 1] - 1)
        sides = {
            (box[0], box[1], box[2], box[1]): row == 0 or not redrawn[row - 1, column],
            (box[0], box[3], box[2], box[3]): row == grid - 1 or not redrawn[row + 1, column],
            (box[0], box[1], box[0], box[3]): column == 0 or not redrawn[row, column - 1],
            (box[2], box[1], box[2], box[3]): column == grid - 1 or not redrawn[row, column + 1],
        }
        for line, outer in sides.items():
            if outer:
                draw.line(tuple(map(int, line)), fill=_MARK, width=2)
    return picture


def write_edit_sheet(path: Path, rows: Sequence[EditRow]) -> None:
    """Writes a PNG with a row for each of at most `MOST` edits.

    Raises:
        ValueError: no edits.
    """
    shown = list(rows)[:MOST]
    if not shown:
        raise ValueError("a sheet of edits needs an edit")
    font = ImageFont.load_default(size=_SIZE)
    head = 2 * MARGIN + _LEADING
    width = 3 * (CELL + MARGIN) + TEXT_WIDTH + 2 * MARGIN
    sheet = Image.new("RGB", (width, head + len(shown) * (CELL + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(("before", "drawn anew", "after")):
        draw.text((MARGIN + column * (CELL + MARGIN), MARGIN), title, fill=_DIM, font=font)
    most = CELL // _LEADING
    for number, row in enumerate(shown):
        top = head + number * (CELL + MARGIN)
        for column, image in enumerate((row.before, marked(row.before, row.redrawn), row.after)):
            sheet.paste(fitted(image), (MARGIN + column * (CELL + MARGIN), top))
        before, after = ([*filled(text, font, TEXT_WIDTH)] for text in row.reports)
        lines = [(row.head, _DIM), *((line, _DIM) for line in before), ("", _INK), *((line, _INK) for line in after)]
        for place, (line, colour) in enumerate(lines[:most]):
            draw.text((MARGIN + 3 * (CELL + MARGIN), top + place * _LEADING), line, fill=colour, font=font)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
