"""Hugging Face `datasets`: an image folder with metadata.parquet, or Parquet with the images inside."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.export.formats.form import Form, Lines, Packing, parts
from benchmark.export.gate import GATE_MEASURES
from medim.common.files import atomic_path
from medim.data.archives.exported import packed
from medim.pair import SPLITS

TEXTS = ("id", "report", "prompt", "model", "model_hash", "split", "patient", "study", "domain", "view", "terms")
COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(TEXTS, pa.string()),
    "seed": pa.int64(),
    "synthetic": pa.bool_(),
    "findings": pa.list_(pa.string()),
    **{f"gate_{key}": pa.float64() for key in GATE_MEASURES},
    "extra": pa.string(),
}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
READING = 'datasets.load_dataset(".")'


class HuggingFace(Form):
    """`data/<split>/metadata.parquet` beside the images that its `file_name` names.
    As metadata.jsonl the library would guess the columns' types of each split, and refuse splits that differ."""

    name: ClassVar[str] = "huggingface"
    owned: ClassVar[tuple[str, ...]] = ("data",)
    images: ClassVar[str] = "data/{split}/{shard:05d}"
    reading: ClassVar[str] = READING

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
        return _header("data/{}/**", splits)


class Parquet(Packing):
    """`data/<split>-00000.parquet`, ...: column `image` holds the PNG, the others are those of the image folder."""

    name: ClassVar[str] = "parquet"
    owned: ClassVar[tuple[str, ...]] = ("data", ".export/images")
    reading: ClassVar[str] = READING

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        for split in SPLITS:
            for number, part in enumerate(parts(lines, split, shard_size)):
                images = [out / line["image"] for line in part]
                files = [{"bytes": image.read_bytes(), "path": image.name} for image in images]
                rows = [{"image": file, **row_of(line)} for file, line in zip(files, part, strict=True)]
                with atomic_path(out / "data" / f"{split}-{number:05d}.parquet") as temporary:
                    pq.write_table(pa.Table.from_pylist(rows, schema=_schema("image", IMAGE)), temporary)

    def card_header(self, splits: tuple[str, ...]) -> dict[str, Any]:
        return _header("data/{}-*.parquet", splits)


def row_of(line: dict[str, Any]) -> dict[str, Any]:
    """The columns of a pair, of the same types in every row; `extra` is JSON of all fields but the report."""
    seed = line.get("seed")
    extra = {key: value for key, value in packed(line).items() if key != "report"}
    return {
        **{key: value if isinstance(value := line.get(key), str) else None for key in TEXTS},
        "seed": seed if type(seed) is int and -(1 << 63) <= seed < 1 << 63 else None,
        "synthetic": line["synthetic"],
        "findings": line.get("findings"),
        **{f"gate_{key}": line["gate"][key] for key in GATE_MEASURES},
        "extra": json.dumps(extra, ensure_ascii=False, sort_keys=True),
    }


def _header(pattern: str, splits: tuple[str, ...]) -> dict[str, Any]:
    """Where `datasets` finds each split, which it calls by its own name."""
    names = {"val": "validation"}
    files = [{"split": names.get(split, split), "path": pattern.format(split)} for split in splits]
    return {"configs": [{"config_name": "default", "data_files": files}]}


def _schema(first: str, kind: pa.DataType) -> pa.Schema:
    """The columns, with the description by which `datasets` knows that `image` is an image."""

    def feature(kind: pa.DataType) -> dict[str, Any]:
        if kind == IMAGE:
            return {"_type": "Image"}
        if pa.types.is_list(kind):
            return {"feature": feature(kind.value_type), "_type": "List"}
        return {"dtype": "float64" if kind == pa.float64() else str(kind), "_type": "Value"}

    columns = {first: kind, **COLUMNS}
    features = {name: feature(kind) for name, kind in columns.items()}
    return pa.schema(list(columns.items()), metadata={"huggingface": json.dumps({"info": {"features": features}})})
