"""Predictions as another program leaves them: `predictions.jsonl`, or plain files named by id. Read whole, decoded later."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medim.common.errors import UserError, named
from medim.common.files import located
from medim.common.json_lines import numbered_lines, parse_json
from medim.imaging.image_files import GeometryError, backslash_hint, open_image

FILES = ("predictions.jsonl", "generated.jsonl")
"""The second is what a run leaves in its folder of samples."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".dcm")
SUBFOLDERS = ("", "images", "reports")
FIELDS = ("id", "image", "report")


@dataclass(frozen=True)
class Line:
    """One prediction.

    Attributes:
        where: how an error names its place: `FILE:LINE`, or the file itself.
        image: an existing file inside the folder; None where there is none.
        report: the text, as it stands in the file; None where there is none.
    """

    where: str
    id: str
    image: Path | None
    report: str | None


def read_predictions(folder: Path) -> list[Line]:
    """All predictions of a folder, in the order of the file's lines, or of the ids where there is no such file.

    Without `predictions.jsonl` (or a run's `generated.jsonl`), `<id>.png` (or another kind of image) and `<id>.txt` are the
    predictions, in the folder itself or in `images/` and `reports/`.

    Raises:
        UserError: no folder, nothing in it, or a mistake in a line: the message names the first and counts the others.
    """
    if not folder.is_dir():
        what = "is a file; give the folder it lies in" if folder.exists() else "does not exist"
        raise UserError(f"--predictions {folder} {what}")
    for name in FILES:
        if (folder / name).is_file():
            return _from_lines(folder / name)
    return _from_files(folder)


def _from_lines(file: Path) -> list[Line]:
    root, lines, first, mistakes = file.parent.resolve(), list[Line](), dict[str, int](), list[str]()
    for number, data in numbered_lines(file):
        where = f"{file}:{number}"
        try:
            line = _line(where, data, root)
            if line.id in first:
                raise UserError(f"{where}: a second prediction for '{line.id}', after that of line {first[line.id]}")
        except UserError as error:
            mistakes.append(str(error))
        else:
            first[line.id] = number
            lines.append(line)
    if mistakes:
        raise UserError(mistakes[0] + (f" ... and {len(mistakes) - 1} more" if mistakes[1:] else ""))
    if not lines:
        raise UserError(f"{file}: holds no predictions")
    return lines


def _line(where: str, data: bytes, root: Path) -> Line:
    with named(where):
        row = parse_json(data)
    if not isinstance(row, dict):
        raise UserError(f"{where}: a prediction is a JSON object such as {{'id', 'image', 'report'}}")
    for field in FIELDS:
        if not isinstance(row.get(field), str | None):
            raise UserError(f"{where}: field '{field}' must be a string, not {json.dumps(row[field])[:40]}")
    if not (row.get("id") or "").strip():
        raise UserError(f"{where}: field 'id' is missing{_spare(row, 'id')}")
    if "image" not in row and "report" not in row:
        raise UserError(f"{where}: there is neither 'image' nor 'report'{_spare(row, 'report', 'image')}")
    image = None if row.get("image") is None else _image(where, row["image"], root)
    return Line(where, row["id"], image, row.get("report"))


def _image(where: str, name: str, root: Path) -> Path:
    try:
        path, there = located(root, name)
    except ValueError as error:  # too long, or a null character
        raise UserError(f"{where}: image {name[:80]!a} is no path: {error}") from None
    if Path(name).is_absolute() or not path.is_relative_to(root):
        raise UserError(f"{where}: image '{name}' lies outside the folder of predictions")
    if not there:
        raise UserError(f"{where}: image '{name}' does not exist{backslash_hint(name) or _nearest(path)}")
    _check_header(where, path)
    return path


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    close = difflib.get_close_matches(path.name, [item.name for item in path.parent.iterdir()], n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _from_files(folder: Path) -> list[Line]:
    images: dict[str, Path] = {}
    reports: dict[str, Path] = {}
    for name in SUBFOLDERS:
        if not (folder / name).is_dir():
            continue
        for path in sorted((folder / name).iterdir()):
            suffix = path.suffix.lower()
            if not path.is_file() or path.name.startswith(".") or suffix not in (*SUFFIXES, ".txt"):
                continue
            kind = reports if suffix == ".txt" else images
            if path.stem in kind:
                raise UserError(f"{path}: a second prediction for '{path.stem}', after {kind[path.stem]}")
            kind[path.stem] = path
    if not images and not reports:
        raise UserError(f"--predictions {folder} holds neither {FILES[0]} nor files <id>.png or <id>.txt")
    for path in images.values():
        _check_header(str(path), path)
    ids = sorted({*images, *reports})
    return [Line(str(images.get(id) or reports[id]), id, images.get(id), _text(reports.get(id))) for id in ids]


def _text(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start + 1}") from None


def _check_header(where: str, path: Path) -> None:
    """Only the header: a thousand images are looked at in a second. What is broken behind it shows on decoding."""
    if path.suffix.lower() == ".dcm":
        return
    try:
        with open_image(path):
            pass
    except GeometryError as error:
        raise UserError(f"{where}: image '{path.name}': {error}") from None
    except Exception as error:  # Pillow's readers raise what they like on damaged files
        reason = "is empty" if not path.stat().st_size else f"is no readable image ({type(error).__name__})"
        raise UserError(f"{where}: image '{path.name}' {reason}") from None


def _spare(row: dict[str, Any], *wanted: str) -> str:
    """What was perhaps meant instead."""
    others = [key for key in row if key not in FIELDS]
    for field in wanted:
        if close := difflib.get_close_matches(field, others, n=1, cutoff=0.5):
            return f"; did you mean it by '{close[0]}'?"
    return f"; the line has {', '.join(map(repr, row)) or 'no field'}"
