"""What a task has to show beside its scores: pairs of images on one sheet, and what is said of each sample in JSON lines."""

import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from medim.common.files import atomic_path, write_text
from tasks.task import Exhibition, Pairing

SHEET, LINES, WITHHELD = "nearest.png", "nearest.jsonl", "nearest.withheld.txt"
_SIDE, _MARGIN, _COLUMNS = 160, 14, 4  # pixels an image is shown at; pairs in a row
_SMALL, _LARGE, _LEADING = 11, 16, 15


def write_exhibition(folder: Path, shown: Exhibition, allowed: bool) -> None:
    """Writes `nearest.jsonl` (ids and numbers alone) and the sheet `nearest.png`, each whole or not at all. `folder`:
    `<out>/samples/<task>/<system>`. `allowed`: whether images may be shown; else a note stands in the sheet's place."""
    write_text(folder / LINES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in shown.samples))
    sheet, note = folder / SHEET, folder / WITHHELD
    if not allowed:
        sheet.unlink(missing_ok=True)
        write_text(note, "The data's terms restrict samples: no training image is shown here. --show-samples allows it.\n")
        return
    note.unlink(missing_ok=True)
    if shown.pairings:
        with atomic_path(sheet) as temporary:
            _drawn(shown.title, shown.pairings).save(temporary, format="PNG")
    else:
        sheet.unlink(missing_ok=True)


def lacks_sheet(folder: Path, allowed: bool) -> bool:
    """Whether an earlier command withheld a sheet that may be shown now, or the other way round."""
    return (folder / WITHHELD).exists() if allowed else (folder / SHEET).exists()


def _drawn(title: tuple[str, ...], pairings: list[Pairing]) -> Image.Image:
    small, large = ImageFont.load_default(size=_SMALL), ImageFont.load_default(size=_LARGE)
    columns = min(_COLUMNS, len(pairings))
    width = 2 * _SIDE + _MARGIN
    per_line = max(1, int(width / small.getlength("0")))
    heading = [part for line in title[1:] for part in _cut(line, per_line * columns)]
    lines = [[part for line in pairing.lines for part in _cut(line, per_line)] for pairing in pairings]
    height = _SIDE + 6 + max(map(len, lines)) * _LEADING + _MARGIN
    top = 2 * _MARGIN + _LARGE + len(heading) * _LEADING
    sheet = Image.new("RGB", (columns * width + _MARGIN, top + -(-len(pairings) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title[0], fill="black", font=large)
    for number, line in enumerate(heading):
        draw.text((_MARGIN, _MARGIN + _LARGE + 6 + number * _LEADING), line, fill="dimgrey", font=small)
    for number, (pairing, below) in enumerate(zip(pairings, lines, strict=True)):
        left, above = _MARGIN + number % columns * width, top + number // columns * height
        for place, image in enumerate((pairing.image, pairing.other)):
            sheet.paste(_fitted(image), (left + place * _SIDE, above))
        for row, line in enumerate(below):
            draw.text((left, above + _SIDE + 4 + row * _LEADING), line, fill="black", font=small)
    return sheet


def _fitted(image: Image.Image) -> Image.Image:
    """At `_SIDE` pixels; small ones enlarged without smoothing."""
    filter = Image.Resampling.NEAREST if max(image.size) < _SIDE else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((_SIDE, _SIDE), filter)


def _cut(line: str, most: int) -> list[str]:
    """A line in pieces of at most `most` characters, parted at spaces where there are any."""
    pieces: list[str] = []
    while len(line) > most:
        end = line.rfind(" ", 1, most + 1)
        end = most if end < 0 else end
        pieces, line = [*pieces, line[:end]], line[end:].lstrip()
    return [*pieces, line]
