"""How a prepared picture is stored: its size, format and name; and the work of one chunk of a listing."""

import hashlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from medim.common.files import atomic_path, hash_of
from medim.data.archives.archive import Archive, Record
from medim.data.archives.preparation.listing import read_chunk, unit_keys

QUALITY = 95


@dataclass(frozen=True)
class Storage:
    """How pictures are stored."""

    # pixels; larger pictures are shrunk (bicubic, antialiased; the aspect stays), smaller ones are left. 0 keeps every size
    longest_side: int = 512
    format: Literal["png", "jpeg"] = "png"  # `png` (lossless) or `jpeg` (quality 95, full colour resolution)


def encode(image: Image.Image, storage: Storage) -> bytes:
    """The file of a picture; grey pictures in RGB become grey files."""
    if image.mode == "RGB":
        pixels = np.asarray(image)
        if (pixels == pixels[..., :1]).all():
            image = image.getchannel(0)
    scale = storage.longest_side / max(image.size)
    if storage.longest_side and scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, storage.format, **({"quality": QUALITY, "subsampling": 0} if storage.format == "jpeg" else {}))
    return file.getvalue()


def image_name(identity: str, storage: Storage) -> str:
    """A file name for a pair's id; ids that no file system takes as they are get a hash.

    >>> image_name("p10/s50.1", Storage()), image_name("CXR1_1", Storage(format="jpeg"))
    ('p10_s50.1-1fd6b0d3e9ecbf3a.png', 'CXR1_1.jpg')
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", identity).strip(".")[:100]
    return (plain if plain == identity else f"{plain}-{hash_of(identity)}") + {"png": ".png", "jpeg": ".jpg"}[storage.format]


def make_chunk(
    chunk: int, archive: Archive, listing: Path, done: Path, out: Path, storage: Storage, leaks: dict[str, str]
) -> None:
    """Reads and writes the pictures of one chunk, then, as its last act, the chunk's lines: rows and failures. `done`: gets the
    lines as `<chunk>.jsonl`. `leaks`: patients and studies of several splits, see `make_listing`."""
    lines = []
    for record in read_chunk(listing, chunk):
        row = record.fields
        final = leaks.get(str(unit_keys(row)[0]), row["split"])
        if final == row["split"]:
            lines.append(_stored(archive, record, out, f"images/{chunk:05d}", storage))
        else:
            reason = f"patient '{row['patient']}' is in '{row['split']}' and in '{final}'; only the pairs in '{final}' are kept"
            lines.append({"item": row["id"], "reason": reason, "stage": "leakage"})
    with atomic_path(done / f"{chunk:05d}.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def _stored(archive: Archive, record: Record, out: Path, folder: str, storage: Storage) -> dict[str, Any]:
    """Stores the picture of a record; returns its line: a row of `pairs.jsonl`, or a failure."""
    identity = record.fields["id"]
    try:
        data = encode(archive.image(record.source), storage)
    except UserError as error:
        return {"item": identity, "reason": str(error), "stage": "picture"}
    name = f"{folder}/{image_name(identity, storage)}"
    with atomic_path(out / name) as temporary:
        temporary.write_bytes(data)
    return {**record.fields, "image": name, "image_sha256": hashlib.sha256(data).hexdigest()[:16]}
