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
NOT_STATED = "not stated"  # in place of the terms of pairs that state none

_NO_IMAGE = -(1 << 63)
_HASH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Index:
    """Where the pairs of a file stand, in the order of its lines."""

    # offset, length: of each line's JSON in bytes, shape (n,)
    offset: np.ndarray
    length: np.ndarray
    split: np.ndarray  # position in `SPLITS` of each line's split, shape (n,) uint8
    # terms, domains: those that occur, in the order of their first line
    terms: tuple[str, ...]
    domains: tuple[str, ...]
    mistakes: tuple[str, ...] = ()  # what is wrong with the lines that were left out, where that is allowed


def read_index(file: Path, allow_leakage: bool = False, allow_mistakes: bool = False) -> Index:
    """The index of a file without mistakes or, where they are allowed, of its sound lines if there are any.
    Raises UserError: the first mistake by file, line and field, and the number of the others."""
    return _Reader(file).index(allow_leakage, allow_mistakes)


class _Reader:
    """Reads one file of pairs and collects every mistake before it complains. Strings are compared by Python's 64-bit hash of
    this process: among a million lines two different ones meet with a chance of 3e-8."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.required = REQUIRED if file.name != REPORTS_ONLY else tuple(name for name in REQUIRED if name != "image")
        self.root = file.parent.resolve()
        self.mistakes: list[tuple[int, int, str]] = []  # line, order within it, message
        self.terms: dict[str, None] = {}
        self.domains: dict[str, None] = {}
        self.listed: dict[str, tuple[Path, set[int]] | None] = {}  # of each folder as spelt: its path, hashes of its files

    def index(self, allow_leakage: bool, allow_mistakes: bool) -> Index:
        columns = self._columns()
        for rows in _groups(columns["id"]):
            name, first = self._row(columns, rows[0])["id"], columns["line"][rows[0]]
            for row in rows[1:]:
                self._mistake(int(columns["line"][row]), f"id '{name}' was used on line {first}", order=0)
        columns = {name: column[columns["image"] != _NO_IMAGE] for name, column in columns.items()}
        messages = [message for _, _, message in sorted(self.mistakes)]
        if not len(columns["offset"]) and not messages:
            messages.append(f"{self.file}: holds no {'pairs' if 'image' in self.required else 'reports'}")
        if not allow_leakage:
            messages += self._leakage(columns)
        if messages and not (allow_mistakes and len(columns["offset"])):
            raise UserError(messages[0] + (f" ... and {len(messages) - 1} more" if len(messages) > 1 else ""))
        length, split = columns["length"].astype(np.int32), columns["split"].astype(np.uint8)
        return Index(columns["offset"], length, split, tuple(self.terms), tuple(self.domains), tuple(messages))

    def _columns(self) -> dict[str, np.ndarray]:
        """Numbers of each sound line, shape (n,) int64; `image` is `_NO_IMAGE` where it cannot be found."""
        columns = {name: array("q") for name in ("offset", "length", "line", "split", "id", "patient", "image")}
        # By line feeds on bytes: str.splitlines would also cut at U+2028, which reports contain.
        with self.file.open("rb") as stream:
            end = 0
            for line, data in enumerate(stream, start=1):
                start, end = end, end + len(data)
                if line == 1 and data.startswith(BOM):
                    start, data = start + len(BOM), data[len(BOM) :]
                data = data.removesuffix(b"\n")
                if not data.strip() or (row := self._parsed(line, data)) is None:
                    continue
                patient = hash(row.get("patient") or row.get("study") or row["id"])
                image = self._image_key(line, row["image"]) if "image" in self.required else hash(row["id"])
                values = (start, len(data), line, SPLITS.index(row["split"]), hash(row["id"]), patient, image)
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
                self.terms[row.get("terms") or NOT_STATED] = None
                if row.get("domain"):
                    self.domains[row["domain"]] = None
        return {name: np.array(column) for name, column in columns.items()}

    def _image_key(self, line: int, image: str) -> int:
        """A number for an image's file, whatever its spelling.
        One listing a folder settles all plain files; links and whatever is odd are looked at one by one."""
        folder, _, name = image.rpartition("/")
        if folder not in self.listed:
            self.listed[folder] = self._listed(folder)
        if (found := self.listed[folder]) is not None and hash(name) in found[1]:
            return hash((found[0], name))
        path = self._image(line, image)
        return _NO_IMAGE if path is None else hash((path.parent, path.name))

    def _listed(self, folder: str) -> tuple[Path, set[int]] | None:
        """The folder inside the root, and hashes of the names of its regular files; links are left to a closer look."""
        try:
            path = located(self.root, folder)[0]
            if folder.startswith("/") or not path.is_relative_to(self.root) or not path.is_dir():
                return None
            with os.scandir(path) as entries:
                return path, {hash(entry.name) for entry in entries if entry.is_file(follow_symlinks=False)}
        except (OSError, ValueError):  # a mistake when the image is looked at singly
            return None

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

    def _leakage(self, columns: dict[str, np.ndarray]) -> list[str]:
        """Patients and image files that occur in several splits; what a patient explains is not repeated."""
        messages: list[str] = []
        explained: set[int] = set()
        for kind in ("patient", "image"):
            for rows in _groups(columns[kind], columns["split"]):
                if explained.issuperset(rows.tolist()):
                    continue
                explained.update(rows.tolist())
                row = self._row(columns, rows[0])
                shown = row.get(kind) or row.get("study") or row["id"]
                places = [rows[columns["split"][rows] == split][:1] for split in range(len(SPLITS))]
                first = np.sort(np.concatenate(places))  # the first line of each split
                where = " and in ".join(f"{SPLITS[columns['split'][r]]} (line {columns['line'][r]})" for r in first)
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
            messages = self._mistakes_in(row)
        except UserError as error:
            row, messages = None, [str(error)]
        for message in messages:
            self._mistake(line, message)
        return None if messages else row

    def _mistakes_in(self, row: Any) -> list[str]:
        if not isinstance(row, dict):
            return [f"a JSON object is needed, not {_kind(row)}"]
        messages = mistakes_in(row, self.required, null_report=self.file.name == IMAGES_ONLY)
        if isinstance(row.get("split"), str) and row["split"].strip() and row["split"] not in SPLITS:
            messages.append(str(unknown("split", row["split"], SPLITS)))
        stated = row.get("image_sha256")
        if stated is not None and not (isinstance(stated, str) and _HASH.fullmatch(stated)):
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


def _groups(key: np.ndarray, split: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Rows (each growing) that share a key, by their first row; where `split` is given, only those of several splits."""
    order = np.argsort(key, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(key[order])) + 1)
    groups = [rows for rows in groups if len(rows) > 1 and (split is None or len(np.unique(split[rows])) > 1)]
    yield from sorted(groups, key=lambda rows: rows[0])


def _kind(value: Any) -> str:
    """What JSON calls the kind of a value."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]
