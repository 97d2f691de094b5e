"""First pass over an archive: every pair is written down in chunks, so that storing the pictures can stop and go on."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from medim.common.files import atomic_path, write_json
from medim.data.archives.archive import Archive, Excluded, Loss, Record
from medim.data.checks.texts import damage
from medim.pair import SPLITS

CHUNK = 256  # pairs whose pictures are stored, and lost by a kill, together
REQUIRED = ("id", "report", "split", "patient", "study", "domain", "terms")

LOSSES = "losses.jsonl"
_DONE = "listing.json"


def make_listing(archive: Archive, folder: Path, limit: int | None = None) -> dict[str, Any]:
    """Writes `folder/00000.jsonl`, ... (one record a line) and `losses.jsonl`; a complete listing is used again.

    Memory holds one hash for each pair and one small number for each patient.

    Returns:
        The summary: `chunks`, `pairs`, `splits` (pairs by split), `patients` and `studies` (numbers), `excluded` (by reason),
        `losses` (number), `short` (`Archive.shortfall` in words), `leaks` (see `unit_keys`: patients and studies of several
        splits, with the one split that keeps them), `damaged` (reports by `checks.texts.damage`), `terms` (of the records, by
        number) and the archive's `facts`.
    """
    done = folder / _DONE
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)  # a part of a listing: its archive is read from the start again
    folder.mkdir(parents=True)
    summary = _Summary()
    losses = chunks = 0
    with (folder / LOSSES).open("w", encoding="utf-8") as lost:

        def records() -> Iterator[Record]:
            nonlocal losses
            for item in tqdm(archive.records(), desc=f"list {archive.name}", unit="pair"):
                entry = summary.added(item)
                if isinstance(entry, Record):
                    yield entry
                elif entry is not None:
                    losses += 1
                    _write_line(lost, {**vars(entry), "stage": "listing"})

        stream = islice(records(), limit)
        while chunk := list(islice(stream, CHUNK)):
            with atomic_path(folder / f"{chunks:05d}.jsonl") as temporary, temporary.open("w", encoding="utf-8") as file:
                for record in chunk:
                    _write_line(file, {"fields": dict(record.fields), "source": record.source})
            chunks += 1
        short = archive.shortfall() if limit is None else []
        for loss in short:
            _write_line(lost, {**vars(loss), "stage": "archive"})
    found = {
        "chunks": chunks,
        "losses": losses + len(short),
        "short": [f"{loss.item}: {loss.reason}" for loss in short],
        **summary.numbers(),
        "facts": archive.facts(),
    }
    write_json(done, found)
    return found


class _Summary:
    """Counts of what an archive yields."""

    def __init__(self) -> None:
        self.excluded, self.splits, self.terms, self.damaged = (Counter[str]() for _ in range(4))
        self.ids: set[int] = set()
        self.splits_of: dict[int, int] = {}  # of each patient and study, one bit a split
        self.units = {"patients": 0, "studies": 0}

    def added(self, item: Record | Loss | Excluded) -> Record | Loss | None:
        """The record, or the loss that it is; None of what the options leave out."""
        if isinstance(item, Excluded):
            self.excluded[item.reason] += 1
            return None
        if isinstance(item, Loss):
            return item
        fields = item.fields
        name = str(fields.get("id") or item.source)
        for field in REQUIRED:
            value = fields.get(field)
            if not isinstance(value, str) or not value.strip():
                return Loss(name, f"field '{field}' is {'empty' if isinstance(value, str) else 'missing'}")
        if fields["split"] not in SPLITS:
            return Loss(name, f"split '{fields['split']}' is none of {', '.join(SPLITS)}")
        if (key := _short(name)) in self.ids:
            return Loss(name, "a second pair with this id")
        self.ids.add(key)
        self.splits[fields["split"]] += 1
        self.terms[fields["terms"]] += 1
        self.damaged.update(damage(fields["report"]))
        for unit, key in zip(self.units, unit_keys(fields), strict=True):
            self.units[unit] += key not in self.splits_of
            self.splits_of[key] = self.splits_of.get(key, 0) | 1 << SPLITS.index(fields["split"])
        return item

    def numbers(self) -> dict[str, Any]:
        leaks = {str(key): most_held_out(bits) for key, bits in self.splits_of.items() if bits & (bits - 1)}
        return {
            "pairs": self.splits.total(),
            "splits": {split: self.splits[split] for split in SPLITS},
            **self.units,
            "excluded": dict(self.excluded.most_common()),
            "leaks": leaks,
            "damaged": dict(self.damaged.most_common()),
            "terms": dict(self.terms.most_common()),
        }


def unit_keys(fields: Mapping[str, Any]) -> tuple[int, int]:
    """The patient and the study of a record as numbers, which may stand in one split only; a study is one of its patient."""
    return _short(f"patient {fields['patient']}"), _short(f"study {fields['patient']}\n{fields['study']}")


def read_chunk(folder: Path, chunk: int) -> list[Record]:
    return [Record(**line) for line in read_lines(folder / f"{chunk:05d}.jsonl")]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def most_held_out(bits: int) -> str:
    """Of the splits of a patient or an image, one bit each, the one that no training may see: test before val before train."""
    return SPLITS[bits.bit_length() - 1]


def _short(text: str) -> int:
    """64 bits of a hash: a million names in some tens of megabytes."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _write_line(file: Any, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
