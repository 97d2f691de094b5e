"""What every form of an export is: where a pair's image lies, and files made of the lines of all pairs."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from medim.common.files import atomic_path

Lines = Callable[[], Iterator[dict[str, Any]]]
"""Iterates anew over all pairs at each call: `image` (path relative to the export), `report`, `id`, `split` and the rest."""


class Form(ABC):
    """One form, in one folder.

    Attributes:
        name: as given to `--format`.
        owned: what `write` and the images take in the folder, for `--overwrite`.
        keeps_images: False where `write` puts the images into its own files, so that the loose ones go afterwards.
        reading: one line of code that reads the export, for the data card.
    """

    name: ClassVar[str]
    owned: ClassVar[tuple[str, ...]]
    keeps_images: ClassVar[bool] = True
    reading: ClassVar[str]

    def image_folder(self, split: str, shard: int) -> str:
        """Where the images of a shard lie, relative to the export."""
        return f"images/{shard:05d}"

    @abstractmethod
    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        """Writes all files but the loose images, each atomically; memory holds a shard at most."""

    def card_header(self, splits: tuple[str, ...]) -> dict[str, Any]:
        """What the form adds to the head of the data card."""
        return {}


def write_lines(path: Path, rows: Iterator[dict[str, Any]], whole: bool = False) -> int:
    """JSON objects, one a line, or as one list (`whole`); returns how many."""
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        if whole:
            stream.write("[")
        for count, row in enumerate(rows, start=1):
            if whole:
                stream.write(",\n" if count > 1 else "\n")
            stream.write(json.dumps(row, ensure_ascii=False) + ("" if whole else "\n"))
        if whole:
            stream.write("\n]\n")
    return count
