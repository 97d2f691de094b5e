"""Predictions as another program leaves them: a file of rows, or plain files named by id. Read whole, decoded later."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medim.common.declared import shown
from medim.common.errors import UserError, named
from medim.common.files import located
from medim.imaging.image_files import GeometryError, backslash_hint, open_image
from tasks.adapters.prediction_forms import OWN, TAKEN, Form, chosen, field, has
from tasks.adapters.prediction_rows import read_ids, read_rows

FILES = ("predictions.jsonl", "generated.jsonl")  # the second is what a run leaves in its folder of samples
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".dcm")
SUBFOLDERS = ("", "images", "reports")


@dataclass(frozen=True)
class Line:
    """One prediction. `where`: how an error names its place: `FILE:LINE`, or the file itself. `image`: an existing file inside
    the folder; None where there is none. `report`: the text, as it stands in the file; None where there is none. `references`:
    what the file says that the report should be, where `--map` names the field."""

    where: str
    id: str
    image: Path | None
    report: str | None
    references: tuple[str, ...] = ()

    def holds(self, what: str) -> bool:
        """Whether it has an `image`, or a `report` that is not blank."""
        return self.image is not None if what == "image" else bool((self.report or "").strip())


def read_predictions(source: Path, given: Mapping[str, str] = {}, ids: Path | None = None) -> list[Line]:  # read alone
    """All predictions of a folder or a file, in the order of its rows, or of the ids where plain files are the predictions.
    A folder has `predictions.jsonl` (or a run's `generated.jsonl`); without it, `<id>.png` (or another kind of image) and
    `<id>.txt` in it or in `images/` and `reports/`. A file has any form of `tasks.adapters.prediction_forms`.
    `given`: fields by what they are taken for (`--map`).
    `ids`: a file with the ids of reports that have none, in their order.
    Raises UserError: nothing is there, or a mistake in a row: the message names the first and counts the others."""
    if not source.exists():
        raise UserError(f"--predictions {source} does not exist")
    if ids is not None and "id" in given:
        raise UserError("--ids and --map id=FIELD both say which report is whose: give one of them")
    file = source if not source.is_dir() else next((source / name for name in FILES if (source / name).is_file()), None)
    if file is not None:
        return _from_rows(file, given, None if ids is None else read_ids(ids))
    if given or ids is not None:
        raise UserError(f"--predictions {source}: --map and --ids are for a file, and the folder holds no {FILES[0]}")
    return _from_files(source)


def _from_rows(file: Path, given: Mapping[str, str], ids: Sequence[str] | None) -> list[Line]:
    root, lines, first, mistakes = file.parent.resolve(), list[Line](), dict[str, str](), list[str]()
    rows = list(read_rows(file, ids is not None))
    if ids is not None and rows and rows[0][1] == {"report": "report"} and len(rows) == len(ids) + 1:
        del rows[0]  # the header of a list of reports
    form = next((chosen(row, given, ids is not None, str(file)) for _, row in rows if isinstance(row, dict)), OWN)
    if ids is not None and form.ordinal is None and len(rows) != len(ids):
        raise UserError(f"{file} holds {len(rows)} reports, and --ids {len(ids)} ids: which is whose is not known")
    for number, (where, row) in enumerate(rows):
        try:
            with named(where):
                if isinstance(row, UserError):
                    raise row
                line = _line(where, row, form, root, _id(row, form) if ids is None else _id_of_place(row, form, number, ids))
                if line.id in first:
                    raise UserError(f"a second prediction for '{line.id}', after that of {first[line.id]}")
        except UserError as error:
            mistakes.append(str(error))
        else:
            first[line.id] = where
            lines.append(line)
    if mistakes:
        raise UserError(mistakes[0] + (f" ... and {len(mistakes) - 1} more" if mistakes[1:] else ""))
    if not lines:
        raise UserError(f"{file}: holds no predictions")
    order = {id: place for place, id in enumerate(ids or ())}
    return sorted(lines, key=lambda line: order.get(line.id, 0))


def _id_of_place(row: Mapping[str, Any], form: Form, number: int, ids: Sequence[str]) -> str:
    """The id of a row by its number in the file or, where it counts the data set's rows itself, by that."""
    if form.ordinal is not None and (not isinstance(number := field(row, form.ordinal), int) or not 0 <= number < len(ids)):
        raise UserError(f"{form.ordinal} is {shown(number)}: --ids has {len(ids)} ids, from 0 on")
    return ids[number]


def _line(where: str, content: Mapping[str, Any], form: Form, root: Path, id: str) -> Line:
    if not has(content, form.image) and not has(content, form.report):
        other = _spare(content, "report", "image")
        raise UserError(f"there is neither '{form.image or 'image'}' nor '{form.report or 'report'}'{other}")
    report = _text_of(field(content, form.report), form.report or "")
    image = field(content, form.image)
    if not isinstance(image, str | None):
        raise UserError(f"field '{form.image}' must be a string, not {shown(image)}: the path of a file")
    references = field(content, form.references, [])
    several = references if isinstance(references, list) else [references]
    if form.references is not None and not (several and all(isinstance(one, str) and one.strip() for one in several)):
        raise UserError(f"field '{form.references}' must be a reference or a list of them, not {shown(references)}")
    return Line(where, id, _image(image, root) if image else None, report, tuple(several))


def _id(content: Mapping[str, Any], form: Form) -> str:
    """A text as it stands, or a whole number's digits."""
    id = field(content, form.id)
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id)
    if not isinstance(id, str | None):
        raise UserError(f"field '{form.id}' must be a string or a whole number, not {shown(id)}")
    if id is None or not id.strip():
        raise UserError(f"field '{form.id or 'id'}' is missing{_spare(content, form.id or 'id')}")
    return id


def _text_of(value: Any, what: str) -> str | None:
    """A report: a text, or a list of one, however deep; None where there is none.
    Raises UserError: several texts, something else, or `nan`, which stands for none where a table was written."""
    if isinstance(value, list) and len(value) == 1:
        return _text_of(value[0], what)
    if isinstance(value, list):
        first = f": --map report={what}.0 takes the first" if value else ""
        raise UserError(f"field '{what}' holds {len(value)} texts, and one is scored{first}")
    if not isinstance(value, str | None):
        raise UserError(f"field '{what}' must be a string, not {shown(value)}")
    if value is not None and value.strip().lower() == "nan":
        raise UserError(f"field '{what}' is '{value}', which is no report: leave it empty, or the row out")
    return value


def _spare(row: Mapping[str, Any], *wanted: str) -> str:
    """What was perhaps meant instead."""
    others = [key for key in row if key not in TAKEN[:3]]
    close = [match for name in wanted for match in difflib.get_close_matches(name, others, n=1, cutoff=0.5)]
    return f"; did you mean it by '{close[0]}'?" if close else f"; the line has {', '.join(map(repr, row)) or 'no field'}"


def _image(name: str, root: Path) -> Path:
    try:
        path, there = located(root, name)
    except ValueError as error:  # too long, or a null character
        raise UserError(f"image {name[:80]!a} is no path: {error}") from None
    if Path(name).is_absolute() or not path.is_relative_to(root):
        raise UserError(f"image '{name}' lies outside the folder of predictions")
    if not there:
        raise UserError(f"image '{name}' does not exist{backslash_hint(name) or _nearest(path)}")
    _check_header(path)
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
        with named(str(path)):
            _check_header(path)
    ids = sorted({*images, *reports})
    return [Line(str(images.get(id) or reports[id]), id, images.get(id), _text(reports.get(id))) for id in ids]


def _text(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start + 1}") from None


def _check_header(path: Path) -> None:
    """Only the header: a thousand images are looked at in a second. What is broken behind it shows on decoding."""
    if path.suffix.lower() == ".dcm":
        return
    try:
        with open_image(path):
            pass
    except GeometryError as error:
        raise UserError(f"image '{path.name}': {error}") from None
    except Exception as error:  # Pillow's readers raise what they like on damaged files
        reason = "is empty" if not path.stat().st_size else f"is no readable image ({type(error).__name__})"
        raise UserError(f"image '{path.name}' {reason}") from None
