"""Columns of tokens on disk: Arrow files of some thousand rows, each whole or absent, mapped into memory when read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medim.errors import UserError
from medim.files import atomic_path, write_json

PART = 4096
"""Rows of a file: what is lost by a kill, at most."""

DESCRIPTION = "tokens.json"


class Column:
    """Rows of one kind of token, in parts that may lie on disk; indexing copies only what is asked for.

    Args:
        parts: arrays of shape (n_i, ...), of one kind.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

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
        first = int(np.searchsorted(self._ends, start, side="right"))
        pieces = []
        for number in range(first, len(self.parts)):
            begin = int(self._ends[number]) - len(self.parts[number])
            if begin >= stop:
                break
            pieces.append(self.parts[number][max(start - begin, 0) : stop - begin])
        if not pieces:
            pieces = [self.parts[0][:0]]
        return torch.from_numpy(np.concatenate(pieces, dtype=np.int64))


class TokenStore:
    """A folder of Arrow IPC files named by their rows, `000000000-000004096.arrow`, beside `tokens.json`.

    Args:
        folder: made if missing.
        description: written as `tokens.json`: whose tokens these are, under which terms.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        self.folder = folder
        if not (folder / DESCRIPTION).exists():
            write_json(folder / DESCRIPTION, dict(description))

    def path(self, rows: range) -> Path:
        """The file of some rows."""
        return self.folder / f"{rows.start:09d}-{rows.stop:09d}.arrow"

    def has(self, rows: range) -> bool:
        """Whether the rows were stored."""
        return self.path(rows).exists()

    def write(self, rows: range, columns: Mapping[str, np.ndarray]) -> None:
        """Stores arrays of shape (len(rows),) or (len(rows), width), atomically."""
        import pyarrow as pa

        arrays = {
            name: pa.array(values) if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
            for name, values in columns.items()
        }
        batch = pa.RecordBatch.from_pydict(arrays)
        with atomic_path(self.path(rows)) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as writer:
            writer.write_batch(batch)

    def read(self, rows: range) -> dict[str, np.ndarray]:
        """The stored columns as read-only views of the mapped file: nothing is loaded until it is touched.

        Raises:
            UserError: the file is damaged.
        """
        import pyarrow as pa

        path = self.path(rows)
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"tokens '{path}' are damaged: remove the file, it will be made again") from error
        if batch.num_rows != len(rows):
            raise UserError(f"tokens '{path}' hold {batch.num_rows} rows, not {len(rows)}: remove the file")
        return {name: _view(batch.column(name)) for name in batch.schema.names}


def _view(column: Any) -> np.ndarray:
    """An Arrow column without a copy: (n,), or (n, width) of a fixed-size list."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=True).reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=True)
