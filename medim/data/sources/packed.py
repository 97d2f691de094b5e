"""Pictures drawn or decoded once, then read back as they are: for data sets whose pictures cost more than their tokens."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.common.locks import LOCK, locked
from medim.common.workers import process_pool
from medim.data.arrow_files import map_columns, write_columns
from medim.data.dataset import DerivedDataset, PairDataset, checked_index
from medim.imaging.images import as_rgb
from medim.pair import ImageReportPair

PART_BYTES = 8 << 20  # pixels of one file; a few files are mapped at a time, so memory stays flat however large the set

_OPEN_PARTS = 2
_FIELDS = tuple(field.name for field in fields(ImageReportPair) if field.name != "image")


class CachedPictures(DerivedDataset):
    """A data set whose pictures are stored in `folder` as raw RGB, with their pairs; equal to it in all that it gives.
    A part (some hundred pairs) is written when one of its pairs is first needed, or ahead by `cache_pictures`. All pictures
    must be of one size: a set drawn on the fly, or images squared by `data prepare`."""

    def __init__(self, base: PairDataset, folder: str | Path) -> None:
        super().__init__(base)
        self.folder = Path(folder)
        self._splits: dict[str, PackedSplit] = {}

    @property
    def fingerprint(self) -> str:
        """The base's: the pairs are the same."""
        return self.base.fingerprint

    def pair(self, split: str, index: int) -> ImageReportPair:
        return self.packed(split).pair(checked_index(self, split, index))

    def packed(self, split: str) -> "PackedSplit":
        if split not in self._splits:
            self._splits[split] = PackedSplit(self.base, split, self.folder)
        return self._splits[split]


def cache_pictures(
    dataset: PairDataset, split: str, folder: str | Path, limit: int | None = None, workers: int = 0
) -> CachedPictures:
    """Writes the missing parts that the first `limit` pairs of a split (all by default) need, with progress.
    `workers`: processes that draw or decode, a part each (the data set is sent to them by pickle); 0: this one."""
    cached = CachedPictures(dataset, folder)
    packed = cached.packed(split)
    count = min(dataset.size(split), limit) if limit is not None else dataset.size(split)
    missing = packed.missing(count)
    with ExitStack() as stack, tqdm(desc=f"cache {split}", total=len(missing), unit="part", disable=not missing) as bar:
        each = stack.enter_context(process_pool(workers)).map if workers and missing else map
        for _ in each(packed.make, missing):
            bar.update()
    return cached


class PackedSplit:
    """The parts of one split: Arrow files of `rows` pairs, pixels beside the rest of the pair as JSON."""

    def __init__(self, dataset: PairDataset, split: str, folder: Path) -> None:
        self.dataset, self.split = dataset, split
        self.folder = folder / f"pictures-{hash_of([dataset.fingerprint, split])}"
        self.size = as_rgb(dataset.pair(split, 0).image).size
        self.rows = max(1, PART_BYTES // (self.size[0] * self.size[1] * 3))

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.arrow"

    def missing(self, count: int) -> list[int]:
        """The parts that the first `count` pairs need and that are not there."""
        return [number for number in range(-(-count // self.rows)) if not self.path(number).exists()]

    def pair(self, index: int) -> ImageReportPair:
        number, row = divmod(index, self.rows)
        path = self.path(number)
        if not path.exists():
            self.make(number)
        texts, pixels = _opened(path, *self.size)
        values = json.loads(texts[row].as_py())
        if values["findings"] is not None:
            values["findings"] = tuple(values["findings"])
        return ImageReportPair(image=Image.fromarray(pixels[row]), **values)

    def make(self, number: int) -> None:
        """Writes a part, atomically; of several processes that want the same, one does."""
        import pyarrow as pa

        with locked(self.folder / f"{number:06d}{LOCK}"):
            if self.path(number).exists():
                return
            for leftover in self.folder.glob(f".{number:06d}.*"):  # of a kill
                leftover.unlink()
            pixels, texts = [], []
            for index in range(number * self.rows, min((number + 1) * self.rows, self.dataset.size(self.split))):
                pair = self.dataset.pair(self.split, index)
                picture = as_rgb(pair.image)
                if picture.size != self.size:
                    raise UserError(
                        f"pictures of '{self.dataset.name}' cannot be cached: '{pair.id}' is {picture.width} x "
                        f"{picture.height} pixels, others are {self.size[0]} x {self.size[1]}; `data prepare` makes them alike"
                    )
                pixels.append(picture.tobytes())
                texts.append(json.dumps({name: getattr(pair, name) for name in _FIELDS}, ensure_ascii=False, default=_plain))
            write_columns(self.path(number), {"pixels": pa.array(pixels, pa.binary(len(pixels[0]))), "pair": texts})


@lru_cache(maxsize=_OPEN_PARTS)
def _opened(path: Path, width: int, height: int) -> tuple[Any, np.ndarray]:
    """The pairs' JSON (an Arrow array) and the pixels (n, height, width, 3) of a part, mapped."""
    batch = map_columns(path, "cached pictures")
    pixels = np.frombuffer(batch.column("pixels").buffers()[1], np.uint8)
    return batch.column("pair"), pixels[: batch.num_rows * width * height * 3].reshape(-1, height, width, 3)


def _plain(value: Any) -> Any:
    """JSON for what sources put into `extra`."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a field of the pair holds a {type(value).__name__}, which JSON has no form for")
