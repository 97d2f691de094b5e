"""A folder of real image-report pairs: `pairs.jsonl` and the images that it names, checked as a whole when opened."""

import difflib
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medim.data.dataset import Checker
from medim.errors import UserError, unknown
from medim.files import hash_of
from medim.pair import SPLITS, ImageReportPair

REQUIRED = ("id", "image", "report", "split")
OPTIONAL = ("patient", "study", "domain", "findings", "sections", "terms", "view")
NOT_STATED = "not stated"
"""In place of the terms of pairs that state none."""

_IMAGES_ONLY = "images.jsonl"
_hashes: dict[tuple[str, int, int], str] = {}


class FolderDataset:
    """Pairs of a folder, in the order of the file's lines. Images stay paths until `medim.data.images.read_image`.

    Each line of `pairs.jsonl` is a JSON object. Required: `id` (unique), `image` (path relative to the file, inside its
    folder), `report` (text), `split` (train, val or test). Optional: `study` (default: the id), `patient` (default: the
    study), `domain`, `view`, `terms`, `findings` (a list), `sections` (name to text). Any other field is kept in `extra`.
    A folder without `pairs.jsonl` may have `images.jsonl` of the same form, where `report` may be null: it serves the
    training of tokenizers.

    Args:
        path: the folder, or the file in it.
        allow_leakage: open a set in which a patient, a study or an image file occurs in two splits.

    Raises:
        UserError: anything is wrong with the file. The line names the first mistake by file, line and field, and counts
            the others.
    """

    synthetic = False

    def __init__(self, path: str | Path, allow_leakage: bool = False):
        self.file = _pairs_file(Path(path))
        self.folder = self.file.parent
        self.name = self.folder.resolve().name
        reader = _Reader(self.file)
        lines = reader.lines()
        if not allow_leakage:
            reader.refuse_leakage(lines)
        reader.refuse_mistakes()
        self._lines = lines
        self._pairs = {split: [line.pair for line in lines if line.pair.split == split] for split in SPLITS}
        self.terms = "; ".join(dict.fromkeys(line.pair.terms or NOT_STATED for line in lines))
        self.domains = tuple(dict.fromkeys(line.pair.domain for line in lines if line.pair.domain))

    @cached_property
    def fingerprint(self) -> str:
        """Hash over every line's content and every image file's bytes; whitespace and key order do not matter."""
        return hash_of([[line.row, _hash_of_file(line.image)] for line in self._lines])

    def size(self, split: str) -> int:
        """Number of pairs of a split; a UserError where there is no such split."""
        return len(self._of(split))

    def pair(self, split: str, index: int) -> ImageReportPair:
        """The pair at `index` (0-based) of a split; an IndexError outside it."""
        pairs = self._of(split)
        if not 0 <= index < len(pairs):
            raise IndexError(f"'{self.name}' has {len(pairs)} pairs in split '{split}': there is no number {index}")
        return pairs[index]

    def image_checker(self) -> Checker | None:
        """None: nothing reads findings from the images of an arbitrary folder."""
        return None

    def report_checker(self) -> Checker | None:
        """None: nothing reads findings from the reports of an arbitrary folder."""
        return None

    def _of(self, split: str) -> list[ImageReportPair]:
        if split not in self._pairs:
            raise unknown("split", split, SPLITS)
        return self._pairs[split]


def _pairs_file(path: Path) -> Path:
    """The file of pairs that `path` is or holds."""
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(f"data set '{path}' does not exist: give a folder with pairs.jsonl")
    for name in ("pairs.jsonl", _IMAGES_ONLY):
        if (path / name).is_file():
            return path / name
    others = sorted(file.name for file in path.glob("*.jsonl"))
    found = f"; it holds {', '.join(others)}" if others else ""
    raise UserError(f"folder '{path}' has neither pairs.jsonl nor {_IMAGES_ONLY}{found}")


def _pair(row: dict[str, Any], folder: Path) -> ImageReportPair:
    study = row.get("study") or row["id"]
    return ImageReportPair(
        id=row["id"],
        image=folder / row["image"],
        report=row["report"],
        split=row["split"],
        study=study,
        patient=row.get("patient") or study,
        view=row.get("view"),
        domain=row.get("domain"),
        findings=None if row.get("findings") is None else tuple(row["findings"]),
        terms=row.get("terms"),
        sections=row.get("sections") or {},
        extra={key: value for key, value in row.items() if key not in REQUIRED + OPTIONAL},
    )


def _hash_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, remembered for this process by path, size and time of change."""
    state = path.stat()
    key = (str(path.resolve()), state.st_size, state.st_mtime_ns)
    if key not in _hashes:
        with path.open("rb") as stream:
            _hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashes[key]


@dataclass(frozen=True)
class _Line:
    """One well-formed line: its number (from 1), its fields, the pair that they make and the image file, resolved."""

    number: int
    row: dict[str, Any]
    pair: ImageReportPair
    image: Path


class _Reader:
    """Reads one file of pairs and collects every mistake before it complains."""

    def __init__(self, file: Path):
        self.file = file
        self.root = file.parent.resolve()
        self.mistakes: list[str] = []

    def lines(self) -> list[_Line]:
        """The well-formed lines; what is wrong with the others is collected."""
        lines: list[_Line] = []
        first: dict[str, int] = {}
        # By line feeds on bytes: str.splitlines would also cut at U+2028, which reports contain.
        for number, data in enumerate(self.file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
            if not data.strip():
                continue
            row = self._parsed(number, data)
            if row is None or not self._fields_are_sound(number, row):
                continue
            if row["id"] in first:
                self._mistake(number, f"id '{row['id']}' was used on line {first[row['id']]}")
            first.setdefault(row["id"], number)
            if image := self._image(number, row["image"]):
                lines.append(_Line(number, row, _pair(row, self.file.parent), image))
        if not lines and not self.mistakes:
            self.mistakes.append(f"{self.file}: holds no pairs")
        return lines

    def refuse_leakage(self, lines: list[_Line]) -> None:
        """Collects patients, studies and image files that occur in several splits; what a patient explains is not repeated."""
        explained: set[int] = set()
        for kind in ("patient", "study", "image"):
            groups: dict[str, list[_Line]] = defaultdict(list)
            for line in lines:
                groups[str(line.image) if kind == "image" else getattr(line.pair, kind)].append(line)
            for name, group in groups.items():
                places = {line.pair.split: line.number for line in reversed(group)}  # the first line of each split
                numbers = {line.number for line in group}
                if len(places) > 1 and not numbers <= explained:
                    explained |= numbers
                    shown = group[0].row["image"] if kind == "image" else name
                    where = " and in ".join(
                        f"{split} (line {n})" for split, n in sorted(places.items(), key=lambda item: item[1])
                    )
                    self.mistakes.append(f"{self.file}: {kind} '{shown}' occurs in {where}: split by patient")

    def refuse_mistakes(self) -> None:
        """Raises one UserError for all that was collected."""
        if self.mistakes:
            first, others = self.mistakes[0], len(self.mistakes) - 1
            raise UserError(first + (f" ... and {others} more" if others else ""))

    def _mistake(self, line: int, message: str) -> None:
        self.mistakes.append(f"{self.file}:{line}: {message}")

    def _parsed(self, line: int, data: bytes) -> dict[str, Any] | None:
        """The line's object, or None where it is not one."""

        def no_repeats(items: list[tuple[str, Any]]) -> dict[str, Any]:
            row = dict(items)
            if len(row) < len(items):
                keys = [key for key, _ in items]
                raise ValueError(f"field '{next(key for key in keys if keys.count(key) > 1)}' stands twice")
            return row

        try:
            row = json.loads(data.decode("utf-8"), object_pairs_hook=no_repeats)
            json.dumps(row, ensure_ascii=False).encode()  # refuses half of a surrogate pair
        except json.JSONDecodeError as error:
            self._mistake(line, f"broken JSON: {error.msg} (column {error.colno})")
        except UnicodeDecodeError as error:
            self._mistake(line, f"not UTF-8: byte {error.start + 1} of the line")
        except UnicodeEncodeError:
            self._mistake(line, "a text holds half of a surrogate pair")
        except (ValueError, RecursionError) as error:
            self._mistake(line, f"broken JSON: {error}")
        else:
            if isinstance(row, dict):
                return row
            self._mistake(line, f"a JSON object is needed, not {_kind(row)}")
        return None

    def _fields_are_sound(self, line: int, row: dict[str, Any]) -> bool:
        before = len(self.mistakes)
        for field in REQUIRED:
            if field not in row:
                spare = [key for key in row if key not in REQUIRED + OPTIONAL]
                close = difflib.get_close_matches(field, spare, n=1)
                self._mistake(line, f"field '{field}' is missing" + (f"; did you mean it by '{close[0]}'?" if close else ""))
        for field in REQUIRED + OPTIONAL:
            if field not in row or (row[field] is None and field in OPTIONAL):
                continue
            value = row[field]
            if field == "report" and value is None and self.file.name == _IMAGES_ONLY:
                continue
            if field == "findings":
                if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                    self._mistake(line, f"field 'findings' must be a list of strings, not {_kind(value)}")
            elif field == "sections":
                if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
                    self._mistake(line, f"field 'sections' must map names to strings, not be {_kind(value)}")
            elif not isinstance(value, str):
                hint = f"; images without reports go into {_IMAGES_ONLY}" if field == "report" and value is None else ""
                self._mistake(line, f"field '{field}' must be a string, not {_kind(value)}{hint}")
            elif not value.strip() and field in (*REQUIRED, "patient", "study"):
                self._mistake(line, f"field '{field}' is empty")
            elif field == "split" and value not in SPLITS:
                self._mistake(line, str(unknown("split", value, SPLITS)))
        return len(self.mistakes) == before

    def _image(self, line: int, image: str) -> Path | None:
        """The image file, resolved, or None where it is missing or outside the folder."""
        try:
            path = (self.root / image).resolve()
            missing = not path.is_file()
        except (OSError, ValueError) as error:  # too long, or a null character
            self._mistake(line, f"image {image!a} is no path: {error}")
            return None
        if Path(image).is_absolute() or not path.is_relative_to(self.root):
            self._mistake(line, f"image '{image}' lies outside the folder of the file; give a path relative to it")
        elif missing:
            self._mistake(line, f"image '{image}' does not exist")
        else:
            return path
        return None


def _kind(value: Any) -> str:
    """What JSON calls the kind of a value."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]
