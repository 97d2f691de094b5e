"""One picture of many samples, pairs or edits: the images in a grid, and what belongs to each in small print."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmark.run.predictions import save_image
from medim.common.errors import UserError
from medim.data.dataset import PairDataset
from medim.imaging.images import read_image, to_rgb

CELL = 192  # pixels an image is shown at
MARGIN = 12
LINES, LINE_HEIGHT, CHARACTERS = 8, 13, 34
MOST = 64

CARD = 320  # pixels wide, and the most that a card's image is high
CARD_COLUMNS, CARD_LINES = 4, 48
_TEXT, _LEADING = 13, 17
EDITS, EDIT_TEXT_WIDTH = 32, 380
_EDIT_TEXT, _EDIT_LEADING = 12, 16
_INK, _DIM, _RULE, _MARK = (20, 20, 20), (95, 95, 95), (205, 205, 205), (255, 120, 0)


def write_contact_sheet(path: Path, images: Sequence[Image.Image], captions: Sequence[str | None]) -> None:
    """Writes a PNG of at most `MOST` images, small ones enlarged without smoothing, each with its caption (None: none).
    Raises ValueError: no images."""
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
    save_image(sheet, path)


def _fitted(image: Image.Image) -> Image.Image:
    """The image at the size of a cell, small ones enlarged without smoothing."""
    scale = CELL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _wrapped(text: str) -> list[str]:
    lines = textwrap.wrap(text, CHARACTERS)
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], lines[LINES - 1][: CHARACTERS - 2] + " …"]


@dataclass(frozen=True)
class Card:
    """One pair as it is shown: its picture, small lines about it, and its whole report (up to `CARD_LINES` lines)."""

    image: Image.Image
    heads: tuple[str, ...]
    report: str


def pair_card(dataset: PairDataset, split: str, index: int, failures: list[str]) -> Card:
    """One pair; a grey field stands in place of a picture that cannot be read, which joins `failures`."""
    pair = dataset.pair(split, index)
    heads = [pair.id, " · ".join(part for part in (split, pair.domain, pair.view) if part)]
    heads.append(f"patient {pair.patient}, study {pair.study}")
    if pair.findings is not None:
        heads.append(f"findings: {', '.join(pair.findings) or 'none'}")
    try:
        image = to_rgb(pair.image) if isinstance(pair.image, Image.Image) else read_image(pair.image)
    except UserError as error:
        failures.append(str(error))
        image = Image.new("RGB", (320, 80), (200, 200, 200))
        heads.append(str(error))
    return Card(image, tuple(heads), pair.report if pair.report is not None else "(no report)")


def write_pair_sheet(path: Path, title: Sequence[str], cards: Sequence[Card]) -> None:
    """Writes a PNG of cards in rows, each row as high as its longest report, under a title of several lines.
    Raises ValueError: no cards."""
    if not cards:
        raise ValueError("a sheet of pairs needs a pair")
    small, bold = ImageFont.load_default(size=_TEXT), ImageFont.load_default(size=_TEXT + 5)
    columns = min(len(cards), CARD_COLUMNS)
    width = columns * (CARD + MARGIN) + MARGIN
    heading = [line for text in title[1:] for line in filled(text, small, width - 2 * MARGIN)]
    drawn = [(_shrunk(card.image), _lines(card, small)) for card in cards]
    rows = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    heights = [max(image.height + MARGIN + len(lines) * _LEADING for image, lines in row) + 2 * MARGIN for row in rows]
    top = 2 * MARGIN + _TEXT + 5 + len(heading) * _LEADING + MARGIN
    sheet = Image.new("RGB", (width, top + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title[0], fill=_INK, font=bold)
    for number, line in enumerate(heading):
        draw.text((MARGIN, 2 * MARGIN + _TEXT + 5 + number * _LEADING), line, fill=_DIM, font=small)
    for row, height in zip(rows, heights, strict=True):
        draw.line((MARGIN, top, width - MARGIN, top), fill=_RULE)
        for column, (image, lines) in enumerate(row):
            left = MARGIN + column * (CARD + MARGIN)
            sheet.paste(image, (left, top + MARGIN))
            for number, (line, colour) in enumerate(lines):
                draw.text((left, top + 2 * MARGIN + image.height + number * _LEADING), line, fill=colour, font=small)
        top += height
    save_image(sheet, path)


def _shrunk(image: Image.Image) -> Image.Image:
    """The picture at the width of a card, or its height where it is upright; small ones enlarged by a whole factor."""
    scale = CARD / max(image.size)
    if scale >= 2:
        return image.convert("RGB").resize((image.width * int(scale), image.height * int(scale)), Image.Resampling.NEAREST)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _lines(card: Card, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[tuple[str, tuple[int, int, int]]]:
    heads = [(line, _DIM) for head in card.heads for line in filled(head, font, CARD)]
    report = [line for paragraph in card.report.split("\n") for line in filled(paragraph, font, CARD)]
    if len(report) > CARD_LINES:
        report = [*report[: CARD_LINES - 1], f"... and {len(report) - CARD_LINES + 1} more lines"]
    return [*heads, ("", _INK), *((line, _INK) for line in report)]


def filled(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> Iterator[str]:
    """A text in lines of at most `width` pixels; a word that is longer is cut."""
    line = ""
    for word in text.split():
        if font.getlength(f"{line} {word}".strip()) <= width:
            line = f"{line} {word}".strip()
            continue
        if line:
            yield line
        while font.getlength(word) > width:
            fits = max(1, sum(font.getlength(word[: end + 1]) <= width for end in range(len(word))))
            yield word[:fits]
            word = word[fits:]
        line = word
    if line:
        yield line


@dataclass(frozen=True)
class EditRow:
    # before, after: images of one size
    before: Image.Image
    after: Image.Image
    redrawn: np.ndarray  # tokens that were drawn anew, (grid, grid)
    head: str  # what was changed, in a line
    reports: tuple[str, str]  # before and after


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
    """Writes a PNG with a row for each of at most `EDITS` edits. Raises ValueError: no edits."""
    shown = list(rows)[:EDITS]
    if not shown:
        raise ValueError("a sheet of edits needs an edit")
    font = ImageFont.load_default(size=_EDIT_TEXT)
    head = 2 * MARGIN + _EDIT_LEADING
    width = 3 * (CELL + MARGIN) + EDIT_TEXT_WIDTH + 2 * MARGIN
    sheet = Image.new("RGB", (width, head + len(shown) * (CELL + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(("before", "drawn anew", "after")):
        draw.text((MARGIN + column * (CELL + MARGIN), MARGIN), title, fill=_DIM, font=font)
    most = CELL // _EDIT_LEADING
    for number, row in enumerate(shown):
        top = head + number * (CELL + MARGIN)
        for column, image in enumerate((row.before, marked(row.before, row.redrawn), row.after)):
            sheet.paste(_fitted(image), (MARGIN + column * (CELL + MARGIN), top))
        before, after = ([*filled(text, font, EDIT_TEXT_WIDTH)] for text in row.reports)
        lines = [(row.head, _DIM), *((line, _DIM) for line in before), ("", _INK), *((line, _INK) for line in after)]
        for place, (line, colour) in enumerate(lines[:most]):
            draw.text((MARGIN + 3 * (CELL + MARGIN), top + place * _EDIT_LEADING), line, fill=colour, font=font)
    save_image(sheet, path)
