"""Probabilities that a classifier elsewhere gave, from a table: for images that exist before the table does.

CSV with a header: `image`, then a column for each label with probabilities in [0, 1]. `image` is a file (its path relative to
the table's folder), such as a sample of an earlier run, or the id of a pair of the data set. An image is known by its pixels,
so that a sample is found wherever it was copied to.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from medim.common.files import hash_files
from medim.data.archives.archive import Loss
from medim.data.archives.tables import read_header, read_table
from medim.imaging.images import read_image, square
from medim.perception.array import image_key

COLUMN = "image"


class PredictedLabels:
    """A `Classifier` of the images that the table lists.
    Raises UserError: no such table, an image twice, or a value that is no probability, by file and line."""

    feed = "as in the table"

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        self.path = Path(path)
        self.labels = tuple(name for name in read_header(self.path, (COLUMN,)) if name != COLUMN)
        if not self.labels:
            raise UserError(f"{self.path}: no column of a label beside '{COLUMN}'")
        self._rows: dict[str, np.ndarray] = {}
        for row in read_table(self.path, (COLUMN, *self.labels)):
            if isinstance(row, Loss):
                raise UserError(f"{self.path.parent / row.item}: {row.reason}")
            name, where = row.cells[COLUMN].strip(), f"{self.path}:{row.line}"
            if name in self._rows:
                raise UserError(f"{where}: image '{name}' has a row already")
            self._rows[name] = np.array([_probability(row.cells[label], label, where) for label in self.labels])
        self.name, self.weights = f"predictions:{self.path.name}", hash_files(self.path)
        self._by_content: dict[str, str] = {}
        self._sides: set[int] = set()

    def meet(self, images: Mapping[str, Image.Image]) -> None:
        """Says which image a pair of the data set has, by its id, in the size that it is read in; rows of files are opened."""
        self._by_content |= {image_key(image): id for id, image in images.items() if id in self._rows}
        for side in {image.width for image in images.values()} - self._sides:
            self._sides.add(side)
            for name in self._rows:
                if (file := self.path.parent / name).is_file():
                    self._by_content[image_key(square(read_image(file), side))] = name

    def lacks(self, images: Sequence[Image.Image]) -> str | None:
        """Why these images have no probabilities; None where all have."""
        missing = sum(image_key(image) not in self._by_content for image in images)
        if not missing:
            return None
        return (
            f"'{self.path}' has no row for {missing} of {len(images)} images: list samples by their files, cases by their ids; "
            "no table holds images that are drawn after it"
        )

    def probabilities(self, images: Sequence[Image.Image], /) -> np.ndarray:
        """Probabilities (N, labels). Raises UserError: an image has no row."""
        if (why := self.lacks(images)) is not None:
            raise UserError(why)
        rows = [self._rows[self._by_content[image_key(image)]] for image in images]
        return np.stack(rows) if rows else np.empty((0, len(self.labels)))


def _probability(text: str, label: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise UserError(f"{where}: column '{label}': '{text}' is no probability in [0, 1]")
    return value
