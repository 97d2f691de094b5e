"""Forms with loose images and one JSON file: our own folder, LLaVA's conversations, R2Gen's annotations."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from benchmark.export.formats.form import Form, Lines, write_lines
from medim.common.files import atomic_path
from medim.data.archives import llava, r2gen
from medim.data.archives.exported import packed
from medim.pair import SPLITS

QUESTION = "Write the report of this image."


class Folder(Form):
    """`pairs.jsonl` and `images/`: what every `--data` of this project reads (`medim.data.sources.folder.FolderDataset`)."""

    name: ClassVar[str] = "folder"
    owned: ClassVar[tuple[str, ...]] = ("pairs.jsonl", "images")
    reading: ClassVar[str] = "medim-bench data check ."

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        write_lines(out / "pairs.jsonl", lines())


class Llava(Form):
    """`data.json`: `[{"id", "image", "conversations": [{"from": "human", ...}, {"from": "gpt", ...}], ...}]`.
    The answer is the report. The other fields of a pair stand beside it, where LLaVA's trainer does not look."""

    name: ClassVar[str] = "llava"
    owned: ClassVar[tuple[str, ...]] = ("data.json", "images")
    reading: ClassVar[str] = "--data_path data.json --image_folder ."

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        with atomic_path(out / "data.json") as temporary, temporary.open("w", encoding="utf-8") as stream:
            _write_list(stream.write, map(self._entry, lines()))
            stream.write("\n]\n")

    def _entry(self, line: dict[str, Any]) -> dict[str, Any]:
        rest = packed(line, llava.TAKEN)
        report = rest.pop("report")
        answer = report.replace("<image>", "")  # LLaVA would look for a second image
        if answer != report:
            rest["report"] = report
        turns = [{"from": "human", "value": f"<image>\n{QUESTION}"}, {"from": "gpt", "value": answer}]
        return {"id": rest.pop("id"), "image": line["image"], "conversations": turns, **rest}


class R2Gen(Form):
    """`annotation.json`: `{"train": [{"id", "report", "image_path": [...], "split"}], "val": ..., "test": ...}`, and `images/`.
    Every pair is an entry of its own; `image_path` is relative to `images`, as R2Gen's `--image_dir` has it."""

    name: ClassVar[str] = "r2gen"
    owned: ClassVar[tuple[str, ...]] = ("annotation.json", "images")
    reading: ClassVar[str] = "--ann_path annotation.json --image_dir images/"

    def write(self, out: Path, lines: Lines, shard_size: int) -> None:
        with atomic_path(out / "annotation.json") as temporary, temporary.open("w", encoding="utf-8") as stream:
            for number, split in enumerate(SPLITS):
                stream.write(("{" if not number else ",\n") + f"{json.dumps(split)}: ")
                _write_list(stream.write, self._entries(lines, split))
                stream.write("]")
            stream.write("}\n")

    def _entries(self, lines: Lines, split: str) -> Iterator[dict[str, Any]]:
        for line in lines():
            if line["split"] == split:
                yield {**packed(line, r2gen.TAKEN), "image_path": [line["image"].removeprefix("images/")]}


def _write_list(write: Callable[[str], object], rows: Iterable[dict[str, Any]]) -> None:
    """A list of objects, one a line, but for its end."""
    write("[")
    for place, row in enumerate(rows):
        write((",\n" if place else "\n") + json.dumps(row, ensure_ascii=False))
