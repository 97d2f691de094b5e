"""Reading `pairs.jsonl` once: every mistake is found, and what stays in memory is 20 bytes a line, not the line."""

import difflib
import json
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medim.common.errors import UserError, unknown
from medim.common.files import located
from medim.common.json_lines import BOM, parse_json
from medim.imaging.image_files import backslash_hint
from medim.pair import SPLITS

REQUIRED = ("id", "image", "report", "split")
OPTIONAL = ("patient", "study", "domain", "findings", "sections", "terms", "view")
IMAGES_ONLY, REPORTS_ONLY = "images.jsonl", "reports.jsonl"
NOT_STATED = "not stated"
"""In place of the terms of pairs that state none."""

_STRINGS = ("patient", "study", "domain", "terms", "view")
_HASH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Index:
    """Where the pairs of a file stand, in the order of its lines.

    Attributes:
        offset, length: of each line's JSON in bytes, shape (n,).
        split: position in `SPLITS` of each line's split, shape (n,) uint8.
        terms, domains: those that occur, in the order of their first line.
        mistakes: what is wrong with the lines that were left out, where that is allowed.
    """

    offset: np.ndarray
    length: np.ndarray
    split: np.ndarray
    terms: tuple[str, ...]
    domains: tuple[str, ...]
    mistakes: tuple[str, ...] = ()


def read_index(file: Path, allow_leakage: bool = False, allow_mistakes: bool = False) -> Index:
    """The index of a file without mistakes or, where they are allowed, of its sound lines if there are any.

    Raises:
        UserError: names the first mistake by file, line and field, and counts the others.
    """
    return _Reader(file).index(allow_leakage, allow_mistakes)


class _Columns:
    """What is noted of each line while reading. Strings are compared by Python's 64-bit hash of this process: among a
    million lines two different ones meet with a chance of 3e-8."""

    def __init__(self) -> None:
        self.offset, self.length, self.number = array("q"), array("q"), array("q")
        self.split = array("B")
        self.id, self.patient, self.image = array("q"), array("q"), array("q")
        self.folder = array("q")  # number of the image's folder, -1 where the path must be looked at singly

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.array(column) for name, column in vars(self).items()}


class _Reader:
    """Reads one file of pairs and collects every mistake before it complains."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.required = REQUIRED if file.name != REPORTS_ONLY else tuple(name for name in REQUIRED if name != "image")
        self.root = file.parent.resolve()
        self.mistakes: list[tuple[int, int, str]] = []  # line, order within it, message
        self.terms: dict[str, None] = {}
        self.domains: dict[str, None] = {}
        self.folders: dict[Path, int] = {}  # resolved, inside the root
        self.by_spelling: dict[str, int] = {}

    def index(self, allow_leakage: bool, allow_mistakes: bool) -> Index:
        columns = self._columns()
        self._find_repeated_ids(columns)
        kinds = ["patient"]
        if "image" in self.required:
            kept = self._find_missing_images(columns)
            columns = {name: column[kept] for name, column in columns.items()}
            kinds.append("image")
        messages = [message for _, _, message in sorted(self.mistakes)]
        if not len(columns["offset"]) and not messages:
            messages.append(f"{self.file}: holds no {'pairs' if 'image' in self.required else 'reports'}")
        if not allow_leakage:
            messages += self._leakage(columns, kinds)
        if messages and not (allow_mistakes and len(columns["offset"])):
            raise UserError(messages[0] + (f" ... and {len(messages) - 1} more" if len(messages) > 1 else ""))
        length = columns["length"].astype(np.int32)
        return Index(columns["offset"], length, columns["split"], tuple(self.terms), tuple(self.domains), tuple(messages))

    def _columns(self) -> dict[str, np.ndarray]:
        columns = _Columns()
        # By line feeds on bytes: str.splitlines would also cut at U+2028, which reports contain.
        with self.file.open("rb") as stream:
            end = 0
            for number, data in enumerate(stream, start=1):
                start, end = end, end + len(data)
                if number == 1 and data.startswith(BOM):
                    start, data = start + len(BOM), data[len(BOM) :]
                data = data.removesuffix(b"\n")
                if not data.strip():
                    continue
                if (row := self._parsed(number, data)) is not None:
                    self._note(columns, row, number, start, len(data))
        return columns.arrays()

    def _note(self, columns: _Columns, row: dict[str, Any], number: int, start: int, length: int) -> None:
        columns.offset.append(start)
        columns.length.append(length)
        columns.number.append(number)
        columns.split.append(SPLITS.index(row["split"]))
        columns.id.append(hash(row["id"]))
        columns.patient.append(hash(row.get("patient") or row.get("study") or row["id"]))
        folder, _, name = row.get("image", "").rpartition("/")
        columns.folder.append(self._folder(folder) if name not in ("", ".", "..") else -1)
        columns.image.append(hash(name))
        self.terms[row.get("terms") or NOT_STATED] = None
        if row.get("domain"):
            self.domains[row["domain"]] = None

    def _folder(self, spelling: str) -> int:
        """Number of an image's folder, or -1 where it is missing or outside the root."""
        if spelling not in self.by_spelling:
            self.by_spelling[spelling] = -1
            try:
                path = located(self.root, spelling)[0]
                if not spelling.startswith("/") and path.is_relative_to(self.root) and path.is_dir():
                    self.by_spelling[spelling] = self.folders.setdefault(path, len(self.folders))
            except (OSError, ValueError):  # told when the image is looked at singly
                pass
        return self.by_spelling[spelling]

    def _find_repeated_ids(self, columns: dict[str, np.ndarray]) -> None:
        for rows in _groups(columns["id"]):
            name = self._row(columns, rows[0])["id"]
            first = columns["number"][rows[0]]
            for row in rows[1:]:
                self._mistake(int(columns["number"][row]), f"id '{name}' was used on line {first}", order=0)

    def _find_missing_images(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Which lines have an image inside the root, shape (n,) bool; `image` becomes a key of the file itself.

        One listing a folder settles all plain files; links and whatever is odd are looked at one by one.
        """
        found = [np.fromiter(_plain_files(path), np.int64) for path in self.folders]
        listed = [_image_keys(np.full(len(names), number), names) for number, names in enumerate(found)]
        names = columns["image"]
        columns["image"] = _image_keys(columns["folder"], names)
        kept = (columns["folder"] >= 0) & np.isin(columns["image"], np.concatenate([np.empty(0, np.int64), *listed]))
        for row in np.flatnonzero(~kept):
            path = self._image(int(columns["number"][row]), self._row(columns, row)["image"])
            if path is not None:
                kept[row] = True
                folder = self.folders.setdefault(path.parent, len(self.folders))
                columns["image"][row] = _image_keys(np.array([folder]), np.array([hash(path.name)]))[0]
        return kept

    def _image(self, line: int, image: str) -> Path | None:
        """The image file, resolved, or None where it is missing or outside the folder."""
        try:
            path, there = located(self.root, image)
        except ValueError as error:  # too long, or a null character
            self._mistake(line, f"image {image!a} is no path: {error}")
            return None
        if Path(image).is_absolute() or not path.is_relative_to(self.root):
            self._mistake(line, f"image '{image}' lies outside the folder of the file; give a path relative to it")
        elif not there:
            self._mistake(line, f"image '{image}' does not exist{backslash_hint(image)}")
        else:
            return path
        return None

    def _leakage(self, columns: dict[str, np.ndarray], kinds: list[str]) -> list[str]:
        """Patients and image files that occur in several splits; what a patient explains is not repeated."""
        messages: list[str] = []
        explained: set[int] = set()
        for kind in kinds:
            for rows in _groups(columns[kind], columns["split"]):
                if explained.issuperset(rows.tolist()):
                    continue
                explained.update(rows.tolist())
                row = self._row(columns, rows[0])
                shown = row.get(kind) or row.get("study") or row["id"]
                places = [rows[columns["split"][rows] == split][:1] for split in range(len(SPLITS))]
                first = np.sort(np.concatenate(places))  # the first line of each split
                where = " and in ".join(f"{SPLITS[columns['split'][r]]} (line {columns['number'][r]})" for r in first)
                messages.append(f"{self.file}: {kind} '{shown}' occurs in {where}: split by patient")
        return messages

    def _row(self, columns: dict[str, np.ndarray], row: int | np.integer) -> dict[str, Any]:
        with self.file.open("rb") as stream:
            stream.seek(columns["offset"][row])
            return json.loads(stream.read(columns["length"][row]))

    def _mistake(self, line: int, message: str, order: int = 1) -> None:
        self.mistakes.append((line, order, f"{self.file}:{line}: {message}"))

    def _parsed(self, line: int, data: bytes) -> dict[str, Any] | None:
        """The line's object, or None where it is none or something is wrong with its fields."""
        try:
            row = parse_json(data, finite=False)  # our own fields are texts; in others real sets hold Infinity
        except UserError as error:
            messages = [str(error)]
        else:
            messages = [] if _is_plainly_sound(row, self.required) else self._mistakes_in(row)
            if not messages:
                return row
        for message in messages:
            self._mistake(line, message)
        return None

    def _mistakes_in(self, row: Any) -> list[str]:
        if not isinstance(row, dict):
            return [f"a JSON object is needed, not {_kind(row)}"]
        messages = mistakes_in(row, self.required, null_report=self.file.name == IMAGES_ONLY)
        if isinstance(row.get("split"), str) and row["split"].strip() and row["split"] not in SPLITS:
            messages.append(str(unknown("split", row["split"], SPLITS)))
        if not _is_hash(row.get("image_sha256")):
            messages.append("field 'image_sha256' must be the first 16 hex digits of the SHA-256 of the image's file")
        if "image" not in self.required and row.get("image") is not None:
            messages.append(f"field 'image' belongs into pairs.jsonl; {REPORTS_ONLY} is for reports whose images are not here")
        return messages


def mistakes_in(row: dict[str, Any], required: Sequence[str], null_report: bool = False) -> list[str]:
    """What is wrong with the fields of a row; `null_report` allows `report` to be null."""
    messages = []
    for field in required:
        if field not in row:
            spare = [key for key in row if key not in REQUIRED + OPTIONAL]
            close = difflib.get_close_matches(field, spare, n=1)
            messages.append(f"field '{field}' is missing" + (f"; did you mean it by '{close[0]}'?" if close else ""))
    for field in (*required, *OPTIONAL):
        value = row.get(field)
        if value is None and (field not in required or field not in row or (null_report and field == "report")):
            continue
        if field == "findings":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                messages.append(f"field 'findings' must be a list of strings, not {_kind(value)}")
        elif field == "sections":
            if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
                messages.append(f"field 'sections' must map names to strings, not be {_kind(value)}")
        elif not isinstance(value, str):
            hint = f"; images without reports go into {IMAGES_ONLY}" if field == "report" and value is None else ""
            messages.append(f"field '{field}' must be a string, not {_kind(value)}{hint}")
        elif not value.strip() and field in (*required, "patient", "study"):
            messages.append(f"field '{field}' is empty")
    return messages


def _is_plainly_sound(row: Any, required: Sequence[str]) -> bool:
    """True for the usual line, at a tenth of the cost; False says nothing yet."""
    if not isinstance(row, dict) or (row.get("image") is not None) != ("image" in required):
        return False
    for field in (*required, *_STRINGS):
        value = row.get(field)
        if (value is not None or field in required) and (type(value) is not str or not value.strip()):
            return False
    plain = row.get("findings") is None and row.get("sections") is None
    return plain and row["split"] in SPLITS and _is_hash(row.get("image_sha256"))


def _is_hash(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _HASH.fullmatch(value) is not None)


def _groups(key: np.ndarray, split: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Rows (each growing) that share a key, by their first row; where `split` is given, only those of several splits."""
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0]) if len(key) else np.empty(0, int)
    ends = np.r_[starts[1:], len(key)]
    if split is None:
        several = ends - starts > 1
    elif len(key):
        several = np.minimum.reduceat(split[order], starts) != np.maximum.reduceat(split[order], starts)
    else:
        return
    for group in sorted(np.flatnonzero(several), key=lambda group: order[starts[group]]):
        yield order[starts[group] : ends[group]]


def _plain_files(folder: Path) -> Iterator[int]:
    """Hashes of the names of the regular files in a folder; links are left to a closer look."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield hash(entry.name)


def _image_keys(folder: np.ndarray, name: np.ndarray) -> np.ndarray:
    """One number a file, from the number of its folder and the hash of its name."""
    return name ^ (folder.astype(np.int64) * np.int64(0x5851F42D4C957F2D))  # wraps around


def _kind(value: Any) -> str:
    """What JSON calls the kind of a value."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]
