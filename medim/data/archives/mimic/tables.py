"""The files of MIMIC-CXR beside pictures and reports: where they lie, and their rows."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medim.common.errors import UserError, unknown
from medim.data.archives.archive import Loss
from medim.data.archives.fields import known_split
from medim.data.archives.json_records import read_entries
from medim.data.archives.tables import read_table
from medim.pair import SPLITS

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
"""The columns of the tables of labels; 1 positive, 0 negative, -1 uncertain, empty not mentioned."""
NO_FINDING = LABELS.index("No Finding")
_CODES = {"1": "1", "1.0": "1", "0": "0", "0.0": "0", "-1": "-", "-1.0": "-", "": " "}

_GROUP = re.compile(r"p\d\d")
_ENTRY = re.compile(r"p\d\d.*|s\d.*|\..*")
_DEPTH = 4
"""Levels below the root that are searched: `files/mimic-cxr-jpg/2.1.0/files` of a root `physionet.org`."""


def folders(root: Path) -> list[Path]:
    """`root` and the folders up to four levels below it, none of a patient or study, in alphabetical order."""
    found, level = [root], [root]
    for _ in range(_DEPTH):
        level = [child for folder in level for child in sorted(folder.iterdir()) if _is_plain(child)]
        found += level
    return found


def has_patients(folder: Path) -> bool:
    """Whether it holds `p10` ... `p19`: `files`, in the archive's own layout."""
    return any(_GROUP.fullmatch(child.name) and child.is_dir() for child in folder.iterdir())


def find_table(places: Sequence[Path], kind: str) -> Path | None:
    """The one file `mimic-cxr*-KIND.csv` or `.csv.gz` in the folders; of the same name packed and unpacked, the unpacked one.

    Raises:
        UserError: two of different names: which one is meant is the user's to say.
    """
    found: dict[str, Path] = {}
    for place in places:
        for path in sorted(place.glob(f"mimic-cxr*-{kind}.csv")) + sorted(place.glob(f"mimic-cxr*-{kind}.csv.gz")):
            found.setdefault(path.name.removesuffix(".gz"), path)
    if len(found) > 1:
        raise UserError(f"mimic-cxr: two {kind} tables: '{found.popitem()[1]}' and '{found.popitem()[1]}'; move one away")
    return next(iter(found.values()), None)


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[int, list[str]]]:
    """(line number, values of the columns, stripped) of a CSV file, gzipped or not; an optional column may lack, as "".

    Raises:
        UserError: see `read_table`; what is a loss there too, as nothing is known of an image without its row.
    """
    for row in read_table(path, columns):
        if isinstance(row, Loss):
            raise UserError(f"{path.parent / row.item}: {row.reason}")
        yield row.line, [row.cells.get(name, "").strip() for name in (*columns, *optional)]


def number(path: Path, line: int, column: str, value: str, letter: str = "") -> int:
    """A number, with or without its letter (`p10000032` where `letter` is p).

    Raises:
        UserError: anything else; the line names file, line and column.
    """
    digits = value.removeprefix(letter)
    if not (digits.isascii() and digits.isdigit()):
        raise UserError(f"{path}:{line}: column '{column}': '{value}' is not a number")
    return int(digits)


def read_labels(path: Path) -> dict[int, str]:
    """Study -> one character for each of `LABELS`: `1`, `0`, `-` (uncertain) or a space (not mentioned)."""
    labels: dict[int, str] = {}
    for line, (study, *values) in read_rows(path, ("study_id", *LABELS)):
        for name, value in zip(LABELS, values, strict=True):
            if value not in _CODES:
                raise UserError(f"{path}:{line}: column '{name}': '{value}' is not 1.0, 0.0, -1.0 or empty")
        labels[number(path, line, "study_id", study, letter="s")] = "".join(_CODES[value] for value in values)
    return labels


def read_exceptions(path: Path) -> dict[int, tuple[str, tuple[int, int] | None]]:
    """Study -> (section that stands for its report, characters of the file or None), of a CSV file.

    Columns: `study` (50414267 or s50414267), `section`; and, where the section has to be cut out by hand, `start` and `end`:
    the report's characters from `start` up to `end` (counted from 0) are that section.
    """
    if not path.is_file():
        raise UserError(f"mimic-cxr: option 'exceptions': file '{path}' does not exist")
    exceptions: dict[int, tuple[str, tuple[int, int] | None]] = {}
    for line, (study, section, *ends) in read_rows(path, ("study", "section"), optional=("start", "end")):
        if not section:
            raise UserError(f"{path}:{line}: column 'section' is empty")
        span = None
        if any(ends):
            start, end = (number(path, line, name, value) for name, value in zip(("start", "end"), ends, strict=True))
            if start >= end:
                raise UserError(f"{path}:{line}: 'end' ({end}) is not after 'start' ({start})")
            span = (start, end)
        exceptions[number(path, line, "study", study, letter="s")] = (section.lower(), span)
    return exceptions


def read_annotation(path: Path) -> dict[str, str]:
    """Image id -> split, of R2Gen's `annotation.json`; streamed. Of several images of an entry the first, which is the one that
    R2Gen reads; the `id` where an entry has no `image_path`.

    Raises:
        UserError: no such file, broken JSON, a split of an unknown name, an entry without image, an image in two splits.
    """
    if not path.is_file():
        raise UserError(f"mimic-cxr: option 'annotation': file '{path}' does not exist")
    splits: dict[str, str] = {}
    for count, entry in enumerate(read_entries(path), start=1):
        if isinstance(entry, Loss):
            raise UserError(f"{path.parent / entry.item}: {entry.reason}")
        if not isinstance(entry.value, dict):
            raise UserError(f"{path}: entry {count} is no object of a list train, val or test")
        key, value = entry.key or "", entry.value
        split = known_split(key)
        if split is None:
            raise UserError(f"{path}: {unknown('split', key, SPLITS)}")
        paths = value.get("image_path") or value.get("id") or ""
        name = Path(str(paths[0] if isinstance(paths, list) else paths)).name
        image = re.sub(r"\.(jpe?g|png|dcm)$", "", name, flags=re.IGNORECASE)
        if not image:
            raise UserError(f"{path}: entry {count}, in '{key}', has neither 'image_path' nor 'id'")
        if splits.setdefault(image, split) != split:
            raise UserError(f"{path}: image '{image}' stands in {splits[image]} and in {split}")
    if not splits:
        raise UserError(f"{path}: no entries: an object of lists train, val, test is needed")
    return splits


def _is_plain(path: Path) -> bool:
    return not _ENTRY.fullmatch(path.name) and path.is_dir()
