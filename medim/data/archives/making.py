"""What a worker does: the pictures of one chunk, then the chunk's lines."""

import json
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.common.files import atomic_path
from medim.data.archives.archive import Archive, Record
from medim.data.archives.listing import read_chunk, unit_keys
from medim.data.archives.picture import Storage, content_hash, encode, image_name


def make_chunk(
    chunk: int, made: Path, listing: Path, archive: Archive, out: Path, storage: Storage, leaks: dict[str, str]
) -> int:
    """Reads and writes the pictures of one chunk, then, as its last act, the chunk's lines: rows and failures."""
    folder = out / "images" / f"{chunk:05d}"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for record in read_chunk(listing, chunk):
        row = dict(record.fields)
        patient, _ = unit_keys(row)
        kept = leaks.get(str(patient), row["split"])
        if kept == row["split"]:
            lines.append(_make(archive, record, out, folder, storage))
        else:
            reason = f"patient '{row['patient']}' is in '{row['split']}' and in '{kept}'; only the pairs in '{kept}' are kept"
            lines.append({"item": row["id"], "reason": reason, "stage": "leakage"})
    with atomic_path(made) as temporary:
        temporary.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return chunk


def _make(archive: Archive, record: Record, out: Path, folder: Path, storage: Storage) -> dict[str, Any]:
    """The picture of one record; returns its line: a row of `pairs.jsonl`, or a failure."""
    row = dict(record.fields)
    try:
        data = encode(archive.image(record.source), storage)
    except UserError as error:
        return {"item": row["id"], "reason": str(error), "stage": "picture"}
    path = folder / image_name(row["id"], storage)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return {**row, "image": path.relative_to(out).as_posix(), "image_sha256": content_hash(data)}
