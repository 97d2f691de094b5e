"""What an export has done so far, on disk: one file of outcomes a shard, appended batch by batch, shared by several processes.
The kernel's file locks keep two processes from one shard and end with the process, however that ends."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.export.sources import Source
from medim.common.claims import claim, refuse_foreign
from medim.common.errors import UserError
from medim.common.files import read_json, write_json
from medim.common.locks import locked

WORK = ".export"
CONFIGURATION, DONE = "configuration.json", "done.json"


@dataclass
class Shard:
    """Some consecutive slots and what became of them."""

    number: int
    slots: range
    attempts: int  # how often a slot may be tried
    together: int  # so many consecutive slots leave together or not at all
    # its file of outcomes, JSON lines: `slot`, `attempt`, `kept`, `content`, `image` (relative to the export) and `fields` of a
    # kept pair; `reason` of another. Of two lines on one attempt the later holds
    path: Path
    lines: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict, repr=False)

    def read(self) -> "Shard":
        """Reads the file; what a killed process left of a line, or of slots that leave together, is cut off."""
        content = self.path.read_bytes() if self.path.exists() else b""
        lines = map(json.loads, content[: content.rfind(b"\n") + 1].splitlines())
        self.lines = {(line["slot"], line["attempt"]): line for line in lines}
        found: dict[tuple[int, int], list[bool]] = {}
        for (slot, attempt), line in self.lines.items():
            found.setdefault((slot // self.together, attempt), []).append(line["kept"])
        good = {group for group, kept in found.items() if sum(kept) in (0, self.together) and len(kept) == self.together}
        self.lines = {at: line for at, line in self.lines.items() if (at[0] // self.together, at[1]) in good}
        return self

    def append(self, lines: list[dict[str, Any]]) -> None:
        """Adds outcomes and returns when they are on disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as stream:
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
        self.lines.update(((line["slot"], line["attempt"]), line) for line in lines)

    def kept(self) -> list[dict[str, Any]]:
        """The pairs that leave, by slot."""
        return [line for _, line in sorted(self.lines.items()) if line["kept"]]

    def dropped(self) -> list[dict[str, Any]]:
        """The outcomes that do not, by slot and attempt."""
        return [line for _, line in sorted(self.lines.items()) if not line["kept"]]

    def open_places(self) -> list[tuple[int, int]]:
        """The next attempt (slot, attempt) of every slot that has no pair and attempts left, by attempt, then slot."""
        filled = {slot for (slot, _), line in self.lines.items() if line["kept"]}
        tried: dict[int, int] = {}
        for slot, attempt in self.lines:
            tried[slot] = max(tried.get(slot, 0), attempt + 1)
        places = [(slot, tried.get(slot, 0)) for slot in self.slots if slot not in filled]
        return sorted((place for place in places if place[1] < self.attempts), key=lambda place: (place[1], place[0]))

    def complete(self) -> bool:
        """Whether every slot has a pair or no attempt left."""
        return not self.open_places()


class Work:
    """The shards of one export. `out`: the export's folder. `size`: slots of a shard. Raises UserError: slots that leave
    together would not be in one shard."""

    def __init__(self, out: Path, source: Source, size: int) -> None:
        if size % source.together:
            raise UserError(f"--shard-size {size} parts pairs that leave together: take a multiple of {source.together}")
        self.out, self.folder = out, out / WORK
        self.starts = range(0, source.slots, size)
        self.slots, self.size, self.attempts, self.together = source.slots, size, source.attempts, source.together

    def __len__(self) -> int:
        return len(self.starts)

    def shard(self, number: int) -> Shard:
        """A shard as it stands on disk."""
        start = self.starts[number]
        slots = range(start, min(start + self.size, self.slots))
        return Shard(number, slots, self.attempts, self.together, self.folder / "shards" / f"{number:05d}.jsonl").read()

    def kept(self) -> Iterator[dict[str, Any]]:
        """The pairs that leave, in the order of their slots."""
        for number in range(len(self)):
            yield from self.shard(number).kept()

    def dropped(self) -> Iterator[dict[str, Any]]:
        """The outcomes that do not, in the order of their slots."""
        for number in range(len(self)):
            yield from self.shard(number).dropped()

    @contextmanager
    def lock(self, name: str, wait: bool = False) -> Iterator[bool]:
        """Holds a lock of this export; yields False, at once, where another process has it and `wait` is not set."""
        with locked(self.folder / "locks" / name, wait) as mine:
            yield mine

    def claim(self, configuration: Mapping[str, Any], overwrite: bool, owned: tuple[str, ...]) -> None:
        """Gives the folder to a configuration, new or to be continued.
        `owned`: what an export writes there: `overwrite` removes these and nothing else.
        Raises UserError: the folder belongs to another configuration, or holds files that no export wrote."""
        path = self.folder / CONFIGURATION

        def clear() -> None:
            for old in (*(self.out / name for name in owned), self.folder / "shards", self.folder / DONE, path):
                remove(old)

        refuse_foreign(self.out, path, "export")
        with self.lock("claim", wait=True):
            claim(self.out, path, configuration, "an export", clear if overwrite else None)

    def done(self) -> dict[str, Any] | None:
        """What the finished export says of itself; None before that."""
        path = self.folder / DONE
        return read_json(path) if path.exists() else None

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Marks the export as written."""
        write_json(self.folder / DONE, summary)


def remove(path: Path) -> None:
    """Removes a file or a folder with all that is in it; nothing where there is none."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
