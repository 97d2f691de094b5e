"""What every form of an export is: where a pair's image lies, and files made of the lines of all pairs."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from medim.common.files import atomic_path

Lines = Callable[[], Iterator[dict[str, Any]]]
"""Iterates anew over all pairs at each call: `image` (path relative to the export), `report`, `id`, `split` and the rest."""


class Form(ABC):
    name: ClassVar[str]  # as given to `--format`
    owned: ClassVar[tuple[str, ...]]  # what `write` and the images take in the folder, for `--overwrite`
    # folder of the images of a shard, with `{split}` and `{shard}`, relative to the export
    images: ClassVar[str] = "images/{shard:05d}"
    # False where `write` puts the images into its own files, so that the loose ones go afterwards
    keeps_images: ClassVar[bool] = True
    reading: ClassVar[str]  # one line of code that reads the export, for the data card

    def image_folder(self, split: str, shard: int) -> str:
        """Where the images of a shard lie."""
        return self.images.format(split=split, shard=shard)

    @abstractmethod
    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        """Writes all files but the loose images, each atomically; memory holds a shard at most."""

    def card_header(self, splits: tuple[str, ...]) -> dict[str, Any]:
        """What the form adds to the head of the data card."""
        return {}


class Packing(Form):
    """A form whose own files hold the images."""

    images: ClassVar[str] = ".export/images/{shard:05d}"
    keeps_images: ClassVar[bool] = False


def parts(lines: Lines, split: str, size: int) -> Iterator[list[dict[str, Any]]]:
    """The lines of a split, `size` at a time."""
    chosen = (line for line in lines() if line["split"] == split)
    for _, group in groupby(enumerate(chosen), lambda item: item[0] // size):
        yield [line for _, line in group]


def write_lines(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Writes JSON objects, one a line; returns how many."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        return sum(1 for row in rows if stream.write(json.dumps(row, ensure_ascii=False) + "\n"))
