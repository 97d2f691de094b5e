"""Columns of tokens on disk: Arrow files of up to some thousand rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medim.common.errors import UserError
from medim.common.files import hash_of, write_json
from medim.data.arrow_files import map_columns, write_columns

PART = 4096  # rows of a file: what is lost by a kill, at most

DESCRIPTION = "tokens.json"
ROW = "row"


class Column:
    """Rows of one kind of token, in parts that may lie on disk; indexing copies only the rows indexed. `parts`: arrays of shape
    (n_i, ...), of one kind. `rows`: which row of the column each row of the parts is; in turn where None."""

    def __init__(self, parts: Sequence[np.ndarray], rows: Sequence[np.ndarray] | None = None) -> None:
        self.parts = tuple(parts)
        self._part = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
        self._place = np.concatenate([np.arange(len(part)) for part in parts])
        if rows is not None:
            order = np.argsort(np.concatenate(rows), kind="stable")
            self._part, self._place = self._part[order], self._place[order]

    def __len__(self) -> int:
        return len(self._part)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.parts[0].shape[1:])

    def __getitem__(self, key: int | slice) -> torch.Tensor:
        """A row, or rows in steps of one, as int64."""
        if not isinstance(key, slice):
            row = range(len(self))[key]
            return self[row : row + 1][0]
        start, stop, step = key.indices(len(self))
        if step != 1:
            raise ValueError(f"rows are read in steps of 1, not {step}")
        part, place = self._part[start:stop], self._place[start:stop]
        result = np.empty((len(part), *self.parts[0].shape[1:]), np.int64)
        for number in np.unique(part):
            here = part == number
            result[here] = self.parts[number][place[here]]
        return torch.from_numpy(result)


class TokenStore:
    """A folder of Arrow IPC files beside `tokens.json`, each of some rows of a split.
    A file of consecutive rows is named by them, `000000000-000004096.arrow`; any other by a hash of its column `row`. Two files
    hold the same row only where two processes wrote them at one time: then either holds. `files_seen` is what the last call of
    `files` found, in an order that later calls only add to.
    `description`: written as `tokens.json`: whose tokens these are, under which terms."""

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        self.folder = folder
        self._names: set[str] = set()
        self.files_seen: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
        if not (folder / DESCRIPTION).exists():
            write_json(folder / DESCRIPTION, dict(description))

    def path(self, rows: np.ndarray | range) -> Path:
        """The file of some rows, which grow."""
        if rows[-1] - rows[0] == len(rows) - 1:
            return self.folder / f"{rows[0]:09d}-{rows[-1] + 1:09d}.arrow"
        return self.folder / f"rows-{hash_of(np.asarray(rows).tolist())}.arrow"

    def write(self, rows: np.ndarray | range, columns: Mapping[str, np.ndarray]) -> None:
        """Stores arrays of shape (len(rows),) or (len(rows), width), atomically."""
        import pyarrow as pa

        path = self.path(rows)
        if path.name.startswith("rows-"):
            columns = {**columns, ROW: np.asarray(rows, np.int64)}
        arrays = {
            name: pa.array(values) if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
            for name, values in columns.items()
        }
        write_columns(path, arrays)

    def files(self) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """All that is stored: rows, and their columns as read-only views of mapped files. Each file is opened once.
        Raises UserError: a file is damaged."""
        for path in sorted(self.folder.glob("[!.]*.arrow")):
            if path.name not in self._names:
                self.files_seen.append(self._open(path))
                self._names.add(path.name)
        return self.files_seen

    def _open(self, path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        batch = map_columns(path, "tokens")
        columns = {name: _view(batch.column(name)) for name in batch.schema.names}
        rows = columns.pop(ROW, None)
        if rows is None:
            start, stop = map(int, path.stem.split("-"))
            rows = np.arange(start, stop)
        if batch.num_rows != len(rows):
            raise UserError(f"tokens '{path}' hold {batch.num_rows} rows, not {len(rows)}: remove the file")
        return rows, columns


def _view(column: Any) -> np.ndarray:
    """An Arrow column without a copy: (n,), or (n, width) of a fixed-size list."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=True).reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=True)
