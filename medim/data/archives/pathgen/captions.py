"""PathGen's captions, 1.6 million in no order: read as a stream, sorted by slide on disk."""

import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.data.archives.archive import Loss
from medim.data.archives.fields import missing_word
from medim.data.archives.json_records import read_list

BUCKETS = 128
KEYS = ("wsi_id", "position", "caption")


@dataclass(frozen=True)
class Entry:
    number: int  # place in the JSON, from 0
    wsi: str
    # x, y: left and upper edge of the described region, pixels of level 0
    x: int
    y: int
    caption: str
    file_id: str | None  # the slide's UUID at the GDC, where the JSON has it


class Captions:
    """The captions of a JSON file, slide by slide, sorted in a database of about the size of the JSON.
    `path`: the JSON, a list of `{"wsi_id", "position": [x, y], "caption"}`, perhaps with `file_id`.
    `folder`: for the database; the caller removes it."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.entries = 0

    def sort(self) -> Iterator[tuple[int, str]]:
        """Reads the JSON, counting `entries`; yields number and mistake of each entry that is left out.
        Raises UserError: damaged JSON, no list, an empty one, or one of other objects; or the folder cannot be written."""
        try:
            with closing(self._database()) as database, database:
                database.execute("CREATE TABLE captions (bucket, number, wsi, x, y, caption, file_id)")
                for number, found in enumerate(read_list(self.path)):
                    value = found if isinstance(found, Loss) else found.value
                    self.entries = number + 1
                    entry = _entry(number, value)
                    if isinstance(entry, Entry):
                        bucket = zlib.crc32(entry.wsi.encode("utf-8", "replace")) % BUCKETS
                        database.execute("INSERT INTO captions VALUES (?, ?, ?, ?, ?, ?, ?)", (bucket, *astuple(entry)))
                    elif number or isinstance(value, Loss) or (isinstance(value, dict) and value.keys() >= set(KEYS)):
                        yield number, entry
                    else:
                        raise UserError(f"'{self.path}' holds no captions: entry 0 {entry}")
        except sqlite3.Error as error:
            raise UserError(f"sorting the captions of '{self.path}' in '{self.folder}' failed: {error}") from None
        if not self.entries:
            raise UserError(f"'{self.path}' is an empty list")

    def by_slide(self) -> Iterator[tuple[str, list[Entry]]]:
        """After `sort`: slides with their entries, in an order that depends on their names alone; entries as in the JSON."""
        query = "SELECT number, wsi, x, y, caption, file_id FROM captions ORDER BY bucket, wsi, number"
        with closing(self._database()) as database:
            rows = (Entry(*row) for row in database.execute(query))
            for wsi, entries in groupby(rows, key=lambda entry: entry.wsi):
                yield wsi, list(entries)

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / "captions.sqlite")


def with_ids(entries: list[Entry]) -> Iterator[tuple[str | None, Entry]]:
    """Entries of a slide with ids: `SLIDE_X_Y`, from a place's second caption on `SLIDE_X_Y_2`; None for a repeated one."""
    captions: dict[str, list[str]] = {}
    for entry in entries:
        name = f"{entry.wsi}_{entry.x}_{entry.y}"
        before = captions.setdefault(name, [])
        if entry.caption in before:
            yield None, entry
            continue
        before.append(entry.caption)
        yield (name if len(before) == 1 else f"{name}_{len(before)}"), entry


def _entry(number: int, value: Any) -> Entry | str:
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
