"""WebDataset: tar files of which consecutive members with one key are a sample."""

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from benchmark.export.formats.form import Form, Lines
from medim.common.files import atomic_path
from medim.data.archives.exported import packed
from medim.pair import SPLITS


class WebDataset(Form):
    """`<split>-00000.tar`, ...: of each pair `<key>.png`, `<key>.txt` (the report) and `<key>.json` (all that is known).

    Members bear no time and no owner: equal pairs make equal files.
    """

    name: ClassVar[str] = "webdataset"
    owned: ClassVar[tuple[str, ...]] = ("shards", ".export/images")
    keeps_images: ClassVar[bool] = False
    reading: ClassVar[str] = 'webdataset.WebDataset(glob("shards/train-*.tar")).decode("pil").to_tuple("png", "txt", "json")'

    def image_folder(self, split: str, shard: int) -> str:
        return f".export/images/{shard:05d}"

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        for split in SPLITS:
            for number, part in enumerate(parts(lines, split, shard_size)):
                with (
                    atomic_path(out / "shards" / f"{split}-{number:05d}.tar") as temporary,
                    tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
                ):
                    for line in part:
                        self._add(tar, out, line)

    def _add(self, tar: tarfile.TarFile, out: Path, line: dict[str, Any]) -> None:
        image = out / line["image"]
        key = image.stem  # the slot's number: ids may hold dots, which would end a key
        content = {
            "json": json.dumps(packed(line), ensure_ascii=False).encode(), "png": image.read_bytes(),
            "txt": line["report"].encode(),
        }  # fmt: skip
        for suffix, data in content.items():
            member = tarfile.TarInfo(f"{key}.{suffix}")
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))


def parts(lines: Lines, split: str, size: int) -> Iterator[list[dict[str, Any]]]:
    """The lines of a split, `size` at a time."""
    chosen = (line for line in lines() if line["split"] == split)
    for _, group in groupby(enumerate(chosen), lambda item: item[0] // size):
        yield [line for _, line in group]
