"""Tables of text in a source of the `datasets` library: CSV, TSV and JSON, whose cells are kept as they are written.

The library guesses a type for each column: `0001` becomes 1, `1e0` a float, `NA` a missing cell, a date a timestamp.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.data.archives.archive import Loss
from medim.data.archives.fields import known_split, labels_in
from medim.data.archives.json_records import read_entries
from medim.data.archives.tables import Row, read_header, read_table

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
FILE_NAME = "file_name"
"""The column of an image folder's metadata that names the picture."""
_METADATA = ("metadata.csv", "metadata.jsonl")
_LOOKED_AT = 1000  # JSON entries, for the names of the columns


class TextTables:
    """The splits of one source; see `medim.data.archives.hub.tables.Tables`, whose methods these are.

    Args:
        root: the source.
        files: of each split.
        licence: that the source declares.
        image: the column of pictures of an image folder, whose files name them by `file_name` relative to themselves.
    """

    def __init__(self, root: str, files: dict[str, list[Path]], licence: str = "", image: str = "") -> None:
        self.root, self._files, self._licence, self._image = root, files, licence, image
        self.columns = {name: self.header(name, ()) for name in files}

    def header(self, split: str, needed: Sequence[str]) -> list[str]:
        """The columns of a split: those of its first file, by the separator that finds the columns needed."""
        path = self._files[split][0]
        if path.suffix in (".csv", ".tsv"):
            names = read_header(path, self._stored(needed))
        else:
            values = (entry.value for entry in islice(_json(path), _LOOKED_AT) if not isinstance(entry, Loss))
            names = list(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))
        return [self._image if self._image and name == FILE_NAME else name for name in names]

    def entries(self, split: str, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any] | Loss]]:
        """The rows of a split in order with these columns alone, and how messages call each; a broken one is a loss."""
        stored = self._stored(columns)
        for path in self._files[split]:
            if path.suffix in (".csv", ".tsv"):
                for row in read_table(path, stored):
                    if isinstance(row, Row):
                        yield f"{path.name}:{row.line}", self._named(path, row.cells, columns)
                    else:
                        yield row.item, row
                continue
            for entry in _json(path):
                if isinstance(entry, Loss):
                    yield entry.item, entry
                    continue
                place = entry.name(path)
                if isinstance(entry.value, dict):
                    yield place, self._named(path, entry.value, columns)
                else:
                    yield place, Loss(place, "an object is needed")

    def label(self, split: str, column: str, row: dict[str, Any]) -> str:
        """A cell as text."""
        return str(row[column])

    def labels(self, split: str, column: str, row: dict[str, Any]) -> list[str] | None:
        """A cell as a list of labels: a list, or text parted by `;`, `,` or `|`; None where empty."""
        return labels_in(row[column], f"column '{column}'")

    def licence(self, split: str) -> str:
        return self._licence

    def _stored(self, columns: Sequence[str]) -> list[str]:
        return [FILE_NAME if self._image and name == self._image else name for name in columns]

    def _named(self, path: Path, cells: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
        row = {name: cells.get(stored) for name, stored in zip(columns, self._stored(columns), strict=True)}
        if self._image in row and isinstance(row[self._image], str):
            below = path.parent.relative_to(self.root).as_posix()
            row[self._image] = f"{below}/{row[self._image]}"
        return row


def text_files(root: Path, kind: str, files: dict[str, list[str]]) -> tuple[dict[str, list[Path]], bool] | None:
    """The files of text by split in what the library found, and whether they are an image folder's; None where there is none.

    Args:
        root: the source.
        kind: the library's name of the reader that it chose.
        files: by split, as the library found them; of a hub id already downloaded.
    """
    paths = {split: [Path(name) for name in names] for split, names in files.items()}
    if kind in ("csv", "json"):
        return paths, False
    if kind != "imagefolder" or not root.is_dir():
        return None
    metadata = {split: [path for path in found if path.name in _METADATA] for split, found in paths.items()}
    if all(metadata.values()):
        return metadata, True
    if any(path.name.startswith("metadata.") for found in paths.values() for path in found):
        return None
    tables = sorted(path for path in root.iterdir() if path.suffix in SUFFIXES and path.is_file())
    named = {known_split(path.stem) or "unsplit": [path] for path in tables}
    return (named, False) if named and len(named) == len(tables) else None


def _json(path: Path) -> Iterator[Any]:
    for entry in read_entries(path):
        if not isinstance(entry, Loss) and entry.key is not None:
            raise UserError(f"hub: {path}: an object with the key '{entry.key}'; a list of objects, or one a line, is needed")
        yield entry
