"""A folder of real image-report pairs: `pairs.jsonl` and the images that it names, checked as a whole when opened."""

import hashlib
import json
import os
import weakref
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.data.dataset import Checker, Keys, checked_index
from medim.data.sources.pairs_file import IMAGES_ONLY, OPTIONAL, REPORTS_ONLY, REQUIRED, Index, read_index
from medim.pair import SPLITS, ImageReportPair

_hashes: dict[tuple[str, int, int], str] = {}


class FolderDataset:
    """Pairs of a folder, in the order of the file's lines. Images stay paths until `medim.imaging.images.read_image`.

    Each line of `pairs.jsonl` is a JSON object. Required: `id` (unique), `image` (path relative to the file, inside its
    folder), `report` (text), `split` (train, val or test). Optional: `study` (default: the id), `patient` (default: the
    study), `domain`, `view`, `terms`, `findings` (a list), `sections` (name to text). Any other field goes into `extra`.
    A folder without `pairs.jsonl` may have `images.jsonl` of the same form, where `report` may be null: it serves the
    training of tokenizers.

    A line may carry `image_sha256`, the first 16 hex digits of the SHA-256 of the image's file, as `data prepare` writes
    it. The fingerprint then takes its word instead of reading the file; `data check` compares it with the bytes.

    Every line is checked on opening and then forgotten: `pair` reads and parses one line, so a million pairs cost 20 MB.

    Args:
        path: the folder, or the file in it.
        allow_leakage: open a set in which a patient or an image file occurs in two splits.
        allow_mistakes: open a set with broken lines or missing images without these; `mistakes` has a message of each.

    Raises UserError: the first mistake by file, line and field, and the number of the others.
    """

    synthetic = False
    NAMES: ClassVar[tuple[str, ...]] = ("pairs.jsonl", IMAGES_ONLY)

    def __init__(self, path: str | Path, allow_leakage: bool = False, allow_mistakes: bool = False):
        self.file = self._file_in(Path(path))
        self.folder = self.file.parent
        self.name = self.folder.resolve().name
        self._lines = _Lines(self.file, read_index(self.file, allow_leakage, allow_mistakes))
        index = self._lines.index
        self.mistakes = index.mistakes
        self._rows = {split: np.flatnonzero(index.split == number).astype(np.int32) for number, split in enumerate(SPLITS)}
        self.terms = "; ".join(index.terms)
        self.domains = index.domains
        self._checkers: dict[str, Checker] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Hash over every line's content and every image file's bytes; whitespace and key order do not matter."""
        digest = hashlib.sha256(b"[")
        for number in range(len(self._lines)):
            row = self._lines.row(number)
            image = row.get("image_sha256") or _hash_of_file((self.folder / row["image"]).resolve())
            text = json.dumps([row, image], sort_keys=True, ensure_ascii=False)
            digest.update((", " if number else "").encode() + text.encode())
        digest.update(b"]")  # what `medim.common.files.hash_of` makes of the whole list, without holding it
        return digest.hexdigest()[:16]

    def size(self, split: str) -> int:
        """Number of pairs of a split; a UserError where there is no such split."""
        if split not in self._rows:
            raise unknown("split", split, SPLITS)
        return len(self._rows[split])

    def pair(self, split: str, index: int) -> ImageReportPair:
        row = self._row(split, index)
        keys = _keys(row)
        return ImageReportPair(
            id=keys.id,
            image=self._image(row),
            report=row["report"],
            split=split,
            study=keys.study,
            patient=keys.patient,
            view=row.get("view"),
            domain=row.get("domain"),
            findings=None if row.get("findings") is None else tuple(row["findings"]),
            terms=row.get("terms"),
            sections=row.get("sections") or {},
            extra={key: value for key, value in row.items() if key not in REQUIRED + OPTIONAL},
        )

    def keys(self, split: str, index: int) -> Keys:
        return _keys(self._row(split, index))

    def use_checkers(self, checkers: Mapping[str, Checker]) -> None:
        """Chooses what reads findings from images (`image`), from reports (`report`), and from images to steer (`steer`)."""
        self._checkers = dict(checkers)

    def image_checker(self) -> Checker | None:
        """The one chosen; None where there is none: nothing reads the images of an arbitrary folder."""
        return self._checkers.get("image")

    def report_checker(self) -> Checker | None:
        """The one chosen, or None."""
        return self._checkers.get("report")

    def steering_image_checker(self) -> Checker | None:
        """The one chosen, or None."""
        return self._checkers.get("steer")

    def _row(self, split: str, index: int) -> dict[str, Any]:
        return self._lines.row(int(self._rows[split][checked_index(self, split, index)]))

    def _image(self, row: dict[str, Any]) -> Path | Image.Image:
        return self.folder / row["image"]

    @classmethod
    def _file_in(cls, path: Path) -> Path:
        if path.is_file():
            return path
        if not path.exists():
            raise UserError(f"data set '{path}' does not exist: give a folder with pairs.jsonl")
        for name in cls.NAMES:
            if (path / name).is_file():
                return path / name
        others = sorted(file.name for file in path.glob("*.jsonl"))
        found = f"; it holds {', '.join(others)}" if others else ""
        raise UserError(f"folder '{path}' has neither {' nor '.join(cls.NAMES)}{found}")


class ReportsOnly(FolderDataset):
    """Reports without images: a folder with `reports.jsonl`. Its pairs bear a single black pixel in an image's place.
    The lines are those of `pairs.jsonl` without `image`. It serves report generation alone, scored from a folder of predictions
    where the images cannot be had."""

    NAMES = (REPORTS_ONLY,)

    @staticmethod
    def fits(path: Path) -> bool:
        """Whether a path is a `reports.jsonl`, or a folder with one and without pairs."""
        return path.name == REPORTS_ONLY or ((path / REPORTS_ONLY).is_file() and not (path / "pairs.jsonl").exists())

    @cached_property
    def fingerprint(self) -> str:
        return hash_of({split: [self._row(split, index) for index in range(self.size(split))] for split in SPLITS})

    def _image(self, row: dict[str, Any]) -> Path | Image.Image:
        return Image.new("RGB", (1, 1))


class _Lines:
    """The lines of an indexed file, read one at a time; safe to share between threads, forks and pickles."""

    def __init__(self, file: Path, index: Index) -> None:
        self.file, self.index = file.absolute(), index
        self.state = _state(file)
        self._handle: int | None = None

    def __len__(self) -> int:
        return len(self.index.offset)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_handle": None}

    def row(self, number: int) -> dict[str, Any]:
        """The object of a line; a UserError where the file is not the one that was indexed."""
        if self._handle is None:
            if _state(self.file) != self.state:
                raise UserError(f"{self.file}: was changed after it had been opened; open it anew")
            self._handle = os.open(self.file, os.O_RDONLY)
            weakref.finalize(self, os.close, self._handle)
        data = os.pread(self._handle, int(self.index.length[number]), int(self.index.offset[number]))
        return json.loads(data)


def _state(file: Path) -> tuple[int, int]:
    try:
        state = file.stat()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    return state.st_size, state.st_mtime_ns


def _keys(row: dict[str, Any]) -> Keys:
    study = row.get("study") or row["id"]
    return Keys(row["id"], study, row.get("patient") or study)


def image_hash(pair: ImageReportPair) -> str | None:
    """`image_sha256` of a pair, as stated or of the file; None where there is no file."""
    if isinstance(pair.image, Path):
        return pair.extra.get("image_sha256") or _hash_of_file(pair.image.resolve())[:16]
    return pair.extra.get("image_sha256")


def _hash_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, remembered for this process by path, size and time of change."""
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns)
    if key not in _hashes:
        with path.open("rb") as stream:
            _hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashes[key]
