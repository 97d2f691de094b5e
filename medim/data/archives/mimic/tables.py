"""The files of MIMIC-CXR beside pictures and reports: where they lie, and their rows."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medim.common.declared import read_yaml
from medim.common.errors import UserError, named
from medim.data.archives.archive import Loss
from medim.data.archives.fields import split_in
from medim.data.archives.json_records import read_entries
from medim.data.archives.tables import read_table

LABELS: tuple[str, ...] = tuple(read_yaml(Path(__file__).with_name("labels.yaml").read_bytes(), "labels.yaml"))
"""The columns of the tables of labels; 1 positive, 0 negative, -1 uncertain, empty not mentioned."""
_VALUES = {"": None, **{f"{value}{suffix}": float(value) for value in (1, 0, -1) for suffix in ("", ".0")}}

_ENTRY = re.compile(r"p\d\d.*|s\d.*|\..*")
_DEPTH = 4  # levels below the root that are searched: `files/mimic-cxr-jpg/2.1.0/files` of a root `physionet.org`


def folders(root: Path) -> list[Path]:
    """`root` and the folders up to four levels below it, none of a patient or study, in alphabetical order."""
    if not root.is_dir():
        raise UserError(f"mimic-cxr: '{root}' is no folder")
    found, level = [root], [root]
    for _ in range(_DEPTH):
        children = (child for folder in level for child in sorted(folder.iterdir()))
        level = [child for child in children if not _ENTRY.fullmatch(child.name) and child.is_dir()]
        found += level
    return found


def has_patients(folder: Path) -> bool:
    """Whether it holds `p10` ... `p19`: `files`, in the archive's own layout."""
    return any(re.fullmatch(r"p\d\d", child.name) and child.is_dir() for child in folder.iterdir())


def find_table(places: Sequence[Path], kind: str) -> Path | None:
    """The one file `mimic-cxr*-KIND.csv` or `.csv.gz` in the folders; of the same name packed and unpacked, the unpacked one.
    Raises UserError: two of different names: which one is meant is the user's to say."""
    found: dict[str, Path] = {}
    for place in places:
        for path in sorted(place.glob(f"mimic-cxr*-{kind}.csv")) + sorted(place.glob(f"mimic-cxr*-{kind}.csv.gz")):
            found.setdefault(path.name.removesuffix(".gz"), path)
    if len(found) > 1:
        raise UserError(f"mimic-cxr: two {kind} tables: '{found.popitem()[1]}' and '{found.popitem()[1]}'; move one away")
    return next(iter(found.values()), None)


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[int, list[str]]]:
    """(line number, values of the columns, stripped) of a CSV file, gzipped or not; an optional column may lack, as "".
    Raises UserError: see `read_table`; also where that has a loss, as nothing is known of an image without its row."""
    for row in read_table(path, columns):
        if isinstance(row, Loss):
            raise UserError(f"{path.parent / row.item}: {row.reason}")
        yield row.line, [row.cells.get(name, "").strip() for name in (*columns, *optional)]


def number(path: Path, line: int, column: str, value: str) -> int:
    """A number, with or without its letter (`p10000032`, `s50414267`).
    Raises UserError: anything else; the line names file, line and column."""
    digits = value.removeprefix({"subject_id": "p", "study_id": "s", "study": "s"}.get(column, ""))
    if not (digits.isascii() and digits.isdigit()):
        raise UserError(f"{path}:{line}: column '{column}': '{value}' is not a number")
    return int(digits)


def read_labels(path: Path) -> dict[int, tuple[float | None, ...]]:
    """Study -> value of each of `LABELS`: 1 present, 0 absent, -1 uncertain, None not mentioned."""
    labels: dict[int, tuple[float | None, ...]] = {}
    shared: dict[tuple[float | None, ...], tuple[float | None, ...]] = {}  # few combinations for 227,827 studies
    for line, (study, *values) in read_rows(path, ("study_id", *LABELS)):
        for name, value in zip(LABELS, values, strict=True):
            if value not in _VALUES:
                raise UserError(f"{path}:{line}: column '{name}': '{value}' is not 1.0, 0.0, -1.0 or empty")
        row = tuple(_VALUES[value] for value in values)
        labels[number(path, line, "study_id", study)] = shared.setdefault(row, row)
    return labels


def read_exceptions(path: Path) -> dict[int, tuple[str, tuple[int, int] | None]]:
    """Study -> (section that stands for its report, characters of the file or None), of a CSV file.
    Columns: `study` (50414267 or s50414267), `section`; and, where the section has to be cut out by hand, `start` and `end`:
    the report's characters from `start` up to `end` (counted from 0) are that section."""
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
        exceptions[number(path, line, "study", study)] = (section.lower(), span)
    return exceptions


def read_annotation(path: Path) -> dict[str, str]:
    """Image id -> split, of R2Gen's `annotation.json`; streamed.
    Of several images of an entry the first, which is the one that R2Gen reads; the `id` where an entry has no `image_path`.
    Raises UserError: no such file, broken JSON, an unknown split, an entry without image, an image in two splits."""
    if not path.is_file():
        raise UserError(f"mimic-cxr: option 'annotation': file '{path}' does not exist")
    splits: dict[str, str] = {}
    for count, entry in enumerate(read_entries(path), start=1):
        if isinstance(entry, Loss):
            raise UserError(f"{path.parent / entry.item}: {entry.reason}")
        if not isinstance(entry.value, dict):
            raise UserError(f"{path}: entry {count} is no object of a list train, val or test")
        with named(str(path)):
            split = split_in(entry.key or "")
        paths = entry.value.get("image_path") or entry.value.get("id") or ""
        name = Path(str(paths[0] if isinstance(paths, list) else paths)).name
        image = re.sub(r"\.(jpe?g|png|dcm)$", "", name, flags=re.IGNORECASE)
        if not image:
            raise UserError(f"{path}: entry {count}, in '{entry.key}', has neither 'image_path' nor 'id'")
        if splits.setdefault(image, split) != split:
            raise UserError(f"{path}: image '{image}' stands in {splits[image]} and in {split}")
    if not splits:
        raise UserError(f"{path}: no entries: an object of lists train, val, test is needed")
    return splits
