"""An index of a whole training split, to compare samples with every pair: built once, block by block, on disk.
Of every pair: its number, a thumbnail, hashes of its report and of its patient, and its features in each requested space; no
text and no id. A million pairs of 1,280 features take 6 GB on disk and one block in memory. A killed command is continued."""

import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import atomic_path, hash_of
from medim.data.dataset import PairDataset, keys_of
from medim.data.tokens.read_ahead import pixels, read_batches
from medim.imaging.images import GEOMETRY
from tasks.cases import at_resolution
from tasks.metrics.image.features import FeatureBank
from tasks.metrics.image.memorisation import SIDE, Rows, normalised, thumbnails
from tasks.metrics.text.copied_text import Hashed, TextRows, number_of

BLOCK = 256  # pairs of one file: at most so many are read again after a kill
_READ = 64  # pictures in memory at once
_VERSION = 1


class TrainingIndex:
    """The training split of a data set, by what screening needs of it. `dataset`: whose pairs of split `train`; all of them,
    also several images of one study. `side`: of the square images, in pixels. `folder`: where it outlives the process, under a
    name that follows the data set's content; None: a temporary one. Raises UserError: there are no training pairs."""

    def __init__(self, dataset: PairDataset, side: int, folder: Path | None = None) -> None:
        self.size = dataset.size("train")
        if not self.size:
            raise UserError(f"data set '{dataset.name}' has no pairs in split 'train' to screen against")
        self.dataset, self.side = at_resolution(dataset, side), side
        self.fingerprint = hash_of([_VERSION, dataset.fingerprint, side, GEOMETRY, BLOCK, SIDE])
        self._temporary = tempfile.TemporaryDirectory(prefix="medim-training-") if folder is None else None
        base = folder if self._temporary is None else Path(self._temporary.name)
        assert base is not None
        self.folder = base / f"training-{self.fingerprint}"

    def prepare(self, banks: Sequence[FeatureBank]) -> dict[str, UserError]:
        """Computes what is missing, for all these spaces in one pass over the images. Returns by fingerprint, the spaces that
        have no features of some image (precomputed arrays), with their errors. Raises UserError: an image cannot be read."""
        missing = {start: self._missing(start, banks) for start in range(0, self.size, BLOCK)}
        pieces = [
            range(first, min(first + _READ, start + BLOCK, self.size))
            for start, (index, lacking) in missing.items()
            if index or lacking
            for first in range(start, min(start + BLOCK, self.size), _READ)
        ]
        failed: dict[str, UserError] = {}
        pile = _Pile()
        shown: dict[str, Any] = {"desc": "training pairs, read once", "unit": "pair", "mininterval": 1, "file": sys.stderr}
        with tqdm(total=self.size, initial=self.size - sum(map(len, pieces)), disable=not pieces, **shown) as progress:
            for piece, batch in zip(pieces, read_batches(self.dataset, "train", pieces, self.side), strict=True):
                start = piece.start // BLOCK * BLOCK
                index, lacking = missing[start]
                images = batch.images()
                pile.thumbnails.append(thumbnails(images))
                pile.reports += batch.reports
                for bank in lacking:
                    fingerprint = bank.space.fingerprint
                    if fingerprint not in failed:
                        try:
                            pile.features.setdefault(fingerprint, []).append(features_of(bank, images))
                        except UserError as error:
                            failed[fingerprint] = error
                progress.update(len(piece))
                if piece.stop == min(start + BLOCK, self.size):
                    if index:
                        self._write_index(start, pile)
                    for bank in lacking:
                        if bank.space.fingerprint not in failed:
                            write_arrays(
                                self._file(start, bank), features=np.concatenate(pile.features[bank.space.fingerprint])
                            )
                    pile = _Pile()
        return failed

    def texts(self) -> Iterator[TextRows]:
        """The reports, in blocks."""
        for start in range(0, self.size, BLOCK):
            whole, rows, grams, patients = _read(self._file(start), "whole", "rows", "grams", "patients")
            yield TextRows(start, Hashed(whole, rows, grams), patients)

    def rows(self, bank: FeatureBank | None) -> Iterator[Rows]:
        """The images in a feature space (None: as normalised thumbnails), in blocks."""
        for start in range(0, self.size, BLOCK):
            small, patients = _read(self._file(start), "thumbnails", "patients")
            values = normalised(small) if bank is None else _read(self._file(start, bank), "features")[0]
            yield Rows(start, values, patients)

    def at(self, indices: np.ndarray, bank: FeatureBank | None) -> np.ndarray:
        """Rows (N, D) float32 of some training images in a space, by index."""
        found: dict[int, np.ndarray] = {}
        for block in self.rows(bank):
            inside = np.unique(indices[(indices >= block.start) & (indices < block.start + len(block.values))])
            found.update({int(index): block.values[index - block.start] for index in inside})
        return np.stack([found[int(index)] for index in indices])

    def all_thumbnails(self) -> np.ndarray:
        """uint8 (N, 1024)."""
        return np.concatenate([_read(self._file(start), "thumbnails")[0] for start in range(0, self.size, BLOCK)])

    def images(self, indices: Sequence[int] | np.ndarray) -> list[Image.Image]:
        """Some training images, RGB of the index's side."""
        return [pixels(self.dataset.pair("train", int(index)), self.side) for index in indices]

    def ids(self, indices: Sequence[int] | np.ndarray) -> list[str | None]:
        """Ids of some training pairs; None for -1."""
        return [None if index < 0 else keys_of(self.dataset, "train", int(index)).id for index in indices]

    def _missing(self, start: int, banks: Sequence[FeatureBank]) -> tuple[bool, list[FeatureBank]]:
        """Whether a block's index is missing, and of which spaces its features are."""
        return not self._file(start).is_file(), [bank for bank in banks if not self._file(start, bank).is_file()]

    def _write_index(self, start: int, pile: "_Pile") -> None:
        texts = Hashed.of(pile.reports)
        patients = [keys_of(self.dataset, "train", row).patient for row in range(start, start + len(pile.reports))]
        hashes = {"whole": texts.whole, "rows": texts.rows, "grams": texts.grams, "patients": patient_numbers(patients)}
        write_arrays(self._file(start), thumbnails=np.concatenate(pile.thumbnails), **hashes)

    def _file(self, start: int, bank: FeatureBank | None = None) -> Path:
        folder = "index" if bank is None else bank.space.fingerprint
        return self.folder / folder / f"{start:09d}.npz"


@dataclass
class _Pile:
    """The block so far."""

    thumbnails: list[np.ndarray] = field(default_factory=list)
    reports: list[str | None] = field(default_factory=list)
    features: dict[str, list[np.ndarray]] = field(default_factory=dict)


def patient_numbers(patients: Sequence[str]) -> np.ndarray:
    """Patients as uint64 hashes (N,), equal in every process."""
    return np.array([number_of(patient) for patient in patients], dtype=np.uint64)


def features_of(bank: FeatureBank, images: Sequence[Image.Image]) -> np.ndarray:
    """Features float32 (N, D), which nothing remembers afterwards."""
    return FeatureBank(bank.space, bank.device).features(images).astype(np.float32)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Writes arrays as `.npz`, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _read(path: Path, *names: str) -> list[np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return [content[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove the file, and it is built again") from error
