"""Hugging Face `datasets`: an image folder with metadata.parquet, or Parquet with the images inside."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.export.formats.form import Form, Lines
from benchmark.export.formats.webdataset import parts
from benchmark.export.gate import GATE_MEASURES
from medim.common.files import atomic_path
from medim.data.archives.exported import packed
from medim.pair import SPLITS

TEXTS = ("id", "report", "prompt", "model", "model_hash", "split", "patient", "study", "domain", "view", "terms")

READING = 'datasets.load_dataset(".")'


def row_of(line: dict[str, Any]) -> dict[str, Any]:
    """The columns of a pair, of the same types in every row; `extra` is JSON of all fields but the report."""
    gate, seed = line["gate"], line.get("seed")
    extra = {key: value for key, value in packed(line).items() if key != "report"}
    return {
        **{key: value if isinstance(value := line.get(key), str) else None for key in TEXTS},
        "seed": seed if type(seed) is int and -(1 << 63) <= seed < 1 << 63 else None, "synthetic": line["synthetic"],
        "findings": line.get("findings"), **{f"gate_{key}": gate[key] for key in GATE_MEASURES},
        "extra": json.dumps(extra, ensure_ascii=False, sort_keys=True),
    }  # fmt: skip


class HuggingFace(Form):
    """`data/<split>/metadata.parquet` beside the images that its `file_name` names.

    As metadata.jsonl the library would guess the columns' types of each split, and refuse splits that differ.
    """

    name: ClassVar[str] = "huggingface"
    owned: ClassVar[tuple[str, ...]] = ("data",)
    reading: ClassVar[str] = READING

    def image_folder(self, split: str, shard: int) -> str:
        return f"data/{split}/{shard:05d}"

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        for split in SPLITS:
            folder = f"data/{split}/"
            if not (out / folder).is_dir():
                continue
            schema = _schema("file_name", pa.string())
            with atomic_path(out / folder / "metadata.parquet") as path, pq.ParquetWriter(path, schema) as writer:
                for part in parts(lines, split, shard_size):
                    rows = [{"file_name": line["image"].removeprefix(folder), **row_of(line)} for line in part]
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))

    def card_header(self, splits: tuple[str, ...]) -> dict[str, Any]:
        files = [{"split": _called(split), "path": f"data/{split}/**"} for split in splits]
        return {"configs": [{"config_name": "default", "data_files": files}]}


class Parquet(Form):
    """`data/<split>-00000.parquet`, ...: column `image` holds the PNG, the others are those of the image folder."""

    name: ClassVar[str] = "parquet"
    owned: ClassVar[tuple[str, ...]] = ("data", ".export/images")
    keeps_images: ClassVar[bool] = False
    reading: ClassVar[str] = READING

    def image_folder(self, split: str, shard: int) -> str:
        return f".export/images/{shard:05d}"

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        for split in SPLITS:
            for number, part in enumerate(parts(lines, split, shard_size)):
                rows = [{"image": _embedded(out / line["image"]), **row_of(line)} for line in part]
                with atomic_path(out / "data" / f"{split}-{number:05d}.parquet") as temporary:
                    pq.write_table(pa.Table.from_pylist(rows, schema=_schema("image", _IMAGE)), temporary)

    def card_header(self, splits: tuple[str, ...]) -> dict[str, Any]:
        files = [{"split": _called(split), "path": f"data/{split}-*.parquet"} for split in splits]
        return {"configs": [{"config_name": "default", "data_files": files}]}


def _called(split: str) -> str:
    """A split as `datasets` calls it."""
    return "validation" if split == "val" else split


def _embedded(path: Path) -> dict[str, Any]:
    return {"bytes": path.read_bytes(), "path": path.name}


_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _schema(first: str, kind: pa.DataType) -> pa.Schema:
    """The columns, with the description by which `datasets` knows that `image` is an image."""
    columns: dict[str, Any] = {
        first: kind, **dict.fromkeys(TEXTS, pa.string()),
        "seed": pa.int64(), "synthetic": pa.bool_(), "findings": pa.list_(pa.string()),
        **{f"gate_{key}": pa.float64() for key in GATE_MEASURES}, "extra": pa.string(),
    }  # fmt: skip

    def feature(name: str, kind: Any) -> dict[str, Any]:
        if name == "image":
            return {"_type": "Image"}
        if name == "findings":
            return {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
        return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}

    features = {name: feature(name, kind) for name, kind in columns.items()}
    return pa.schema(list(columns.items()), metadata={"huggingface": json.dumps({"info": {"features": features}})})
