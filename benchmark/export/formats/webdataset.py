"""WebDataset: tar files of which consecutive members with one key are a sample."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any, ClassVar

from benchmark.export.formats.form import Lines, Packing, parts
from medim.common.files import atomic_path
from medim.data.archives.exported import packed
from medim.pair import SPLITS


class WebDataset(Packing):
    """`<split>-00000.tar`, ...: of each pair `<key>.png`, `<key>.txt` (the report) and `<key>.json` (all fields).
    Members bear no time and no owner: equal pairs make equal files."""

    name: ClassVar[str] = "webdataset"
    owned: ClassVar[tuple[str, ...]] = ("shards", ".export/images")
    reading: ClassVar[str] = 'webdataset.WebDataset(glob("shards/train-*.tar")).decode("pil").to_tuple("png", "txt", "json")'

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        for split in SPLITS:
            for number, part in enumerate(parts(lines, split, shard_size)):
                with (
                    atomic_path(out / "shards" / f"{split}-{number:05d}.tar") as temporary,
                    tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
                ):
                    for line in part:
                        _add(tar, out / line["image"], line)


def _add(tar: tarfile.TarFile, image: Path, line: dict[str, Any]) -> None:
    """Adds a pair under the number of its slot: an id may hold a dot, which would end a key."""
    fields = json.dumps(packed(line), ensure_ascii=False)
    for suffix, data in (("json", fields.encode()), ("png", image.read_bytes()), ("txt", line["report"].encode())):
        member = tarfile.TarInfo(f"{image.stem}.{suffix}")
        member.size, member.mode = len(data), 0o644
        tar.addfile(member, io.BytesIO(data))
