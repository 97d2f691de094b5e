"""Columns on disk as Arrow IPC files of one batch: each whole or absent, mapped into memory when read."""

from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.common.files import atomic_path


def write_columns(path: Path, columns: dict[str, Any]) -> None:
    """Writes Arrow arrays, or what Arrow makes arrays of, atomically."""
    import pyarrow as pa

    batch = pa.RecordBatch.from_pydict(columns)
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as writer:
        writer.write_batch(batch)


def map_columns(path: Path, what: str) -> Any:
    """The record batch of a file; nothing is loaded before it is touched.
    Raises UserError: the file is damaged; `what` begins the line."""
    import pyarrow as pa

    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{what} '{path}' are damaged: remove the file, it will be made again") from error
