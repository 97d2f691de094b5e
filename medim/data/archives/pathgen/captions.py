"""PathGen's captions, 1.6 million in no order: read as a stream, sorted by slide on disk."""

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.data.archives.archive import Loss
from medim.data.archives.fields import missing_word
from medim.data.archives.json_records import read_entries

BUCKETS = 128
KEYS = ("wsi_id", "position", "caption")


@dataclass(frozen=True)
class Entry:
    """One caption.

    Attributes:
        number: place in the JSON, from 0.
        wsi: name of the slide.
        x: left edge of what is described, pixels of level 0.
        y: upper edge.
        caption: the text, without white space around it.
        file_id: the slide's UUID at the GDC, where the JSON tells.
    """

    number: int
    wsi: str
    x: int
    y: int
    caption: str
    file_id: str | None


class Captions:
    """The captions of a JSON file, slide by slide.

    Each entry is written to one of 128 files by a hash of its slide, then these are read one by one. Together they take
    about the size of the JSON on disk; memory holds one of them, 1/128 of the entries.

    Args:
        path: the JSON, a list of `{"wsi_id", "position": [x, y], "caption"}`, perhaps with `file_id`.
        folder: an empty folder for the sorted captions; whoever made it removes it.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.entries = 0
        """Of the JSON, sound or not, counted by `sort`."""

    def sort(self) -> Iterator[tuple[int, str]]:
        """Reads the JSON; yields number and mistake of each entry that is left out.

        Raises:
            UserError: damaged JSON, no list, an empty one, or one of other objects; or the folder cannot be written.
        """
        try:
            with ExitStack() as stack:
                files = [stack.enter_context(self._bucket(n).open("w", encoding="utf-8")) for n in range(BUCKETS)]
                for number, value in read_list(self.path):
                    self.entries = number + 1
                    entry = entry_of(number, value)
                    if isinstance(entry, Entry):
                        line = [entry.number, entry.wsi, entry.x, entry.y, entry.caption, entry.file_id]
                        files[zlib.crc32(entry.wsi.encode("utf-8", "replace")) % BUCKETS].write(json.dumps(line) + "\n")
                    elif (
                        number == 0
                        and not isinstance(value, Loss)
                        and not (isinstance(value, dict) and value.keys() >= set(KEYS))
                    ):
                        raise UserError(f"'{self.path}' holds no captions: entry 0 {entry}")
                    else:
                        yield number, entry
        except OSError as error:
            raise UserError(f"sorting the captions of '{self.path}' in '{self.folder}' failed: {error.strerror}") from None
        if not self.entries:
            raise UserError(f"'{self.path}' is an empty list")

    def by_slide(self) -> Iterator[tuple[str, list[Entry]]]:
        """After `sort`: slides with their entries, in an order that depends on their names alone; entries as in the JSON."""
        for bucket in range(BUCKETS):
            slides: dict[str, list[Entry]] = {}
            with self._bucket(bucket).open(encoding="utf-8") as file:
                for line in file:
                    entry = Entry(*json.loads(line))
                    slides.setdefault(entry.wsi, []).append(entry)
            yield from sorted(slides.items())

    def _bucket(self, number: int) -> Path:
        return self.folder / f"{number:03d}.jsonl"


def with_ids(entries: list[Entry]) -> Iterator[tuple[str | None, Entry]]:
    """Entries of a slide with ids: `SLIDE_X_Y`, from a place's second caption on `SLIDE_X_Y_2`; None repeats one by word."""
    captions: dict[str, list[str]] = {}
    for entry in entries:
        name = f"{entry.wsi}_{entry.x}_{entry.y}"
        before = captions.setdefault(name, [])
        if entry.caption in before:
            yield None, entry
            continue
        before.append(entry.caption)
        yield (name if len(before) == 1 else f"{name}_{len(before)}"), entry


def entry_of(number: int, value: Any) -> Entry | str:
    """A value of the JSON list as an entry, or what is wrong with it."""
    if isinstance(value, Loss):
        return f"is lost: {value.reason}"
    if not isinstance(value, dict):
        return f"is no object but {str(value)[:40]!r}"
    for key in KEYS:
        if key not in value:
            return f"has no '{key}'; its keys are: {', '.join(sorted(value)) or 'none'}"
    wsi, position, caption, file_id = value["wsi_id"], value["position"], value["caption"], value.get("file_id")
    if not isinstance(wsi, str):
        return f"has a 'wsi_id' that is no text: {str(wsi)[:40]!r}"
    if word := missing_word(caption):
        return f"has '{word}' as its 'caption', which stands for missing text"
    if not isinstance(caption, str) or not caption.strip():
        return "has an empty 'caption'"
    if not isinstance(position, list) or len(position) != 2 or not all(re.fullmatch(r"[0-9]{1,9}", str(p)) for p in position):
        return f"has a 'position' that is not two whole numbers of pixels: {str(position)[:40]}"
    x, y = map(int, position)
    return Entry(number, wsi, x, y, caption.strip(), file_id if isinstance(file_id, str) else None)


def read_list(path: Path) -> Iterator[tuple[int, Any]]:
    """The values of a JSON list, numbered from 0, as a stream: memory holds one. In place of a broken one stands its `Loss`.

    Raises:
        UserError: no list, or damaged JSON; the line tells after which entry (counted from 1).
    """
    for number, entry in enumerate(read_entries(path)):
        if not isinstance(entry, Loss) and entry.key is not None:
            raise UserError(f"'{path}' is no JSON list but an object with the key '{entry.key}'")
        yield number, entry if isinstance(entry, Loss) else entry.value
