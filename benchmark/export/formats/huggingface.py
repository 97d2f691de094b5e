"""Hugging Face `datasets`: an image folder with metadata.jsonl, or Parquet with the images inside."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.export.formats.form import Form, Lines, write_lines
from benchmark.export.formats.webdataset import parts
from benchmark.export.gate import GATE_MEASURES
from medim.files import atomic_path
from medim.pair import SPLITS

TEXTS = ("id", "report", "prompt", "model", "model_hash", "split", "patient", "study", "domain", "view", "terms")

READING = 'datasets.load_dataset(".")'


def row_of(line: dict[str, Any]) -> dict[str, Any]:
    """The columns of a pair, of the same types in every row: what only some sets know is JSON in `extra`."""
    gate = line["gate"]
    known = {*TEXTS, "image", "seed", "synthetic", "findings", "gate"}
    extra = {key: value for key, value in line.items() if key not in known}
    extra["gate"] = {key: value for key, value in gate.items() if key not in GATE_MEASURES}
    return {
        **{key: line.get(key) for key in TEXTS}, "seed": line.get("seed"), "synthetic": line["synthetic"],
        "findings": line.get("findings"), **{f"gate_{key}": gate[key] for key in GATE_MEASURES},
        "extra": json.dumps(extra, ensure_ascii=False, sort_keys=True),
    }  # fmt: skip


class HuggingFace(Form):
    """`data/<split>/metadata.jsonl` beside the images that its `file_name` names."""

    name: ClassVar[str] = "huggingface"
    owned: ClassVar[tuple[str, ...]] = ("data",)
    reading: ClassVar[str] = READING

    def image_folder(self, split: str, shard: int) -> str:
        return f"data/{split}/{shard:05d}"

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        for split in SPLITS:
            folder = f"data/{split}/"
            rows = (
                {"file_name": line["image"].removeprefix(folder), **row_of(line)} for line in lines() if line["split"] == split
            )
            if (out / folder).is_dir():
                write_lines(out / folder / "metadata.jsonl", rows)

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
                    pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), temporary)

    def card_header(self, splits: tuple[str, ...]) -> dict[str, Any]:
        files = [{"split": _called(split), "path": f"data/{split}-*.parquet"} for split in splits]
        return {"configs": [{"config_name": "default", "data_files": files}]}


def _called(split: str) -> str:
    """A split as `datasets` calls it."""
    return "validation" if split == "val" else split


def _embedded(path: Path) -> dict[str, Any]:
    return {"bytes": path.read_bytes(), "path": path.name}


def _schema() -> pa.Schema:
    """The columns, with the description by which `datasets` knows that `image` is an image."""
    columns: dict[str, Any] = {
        "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]), **dict.fromkeys(TEXTS, pa.string()),
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
