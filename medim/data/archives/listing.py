"""First pass over an archive: every pair to be made is written down in chunks, so that making them can stop and go on."""

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

CHUNK = 256
"""Pairs that are made, and lost by a kill, together."""
REQUIRED = ("id", "report", "split", "patient", "study", "domain", "terms")

LOSSES = "losses.jsonl"
_DONE = "listing.json"


def make_listing(archive: Archive, folder: Path, limit: int | None = None) -> dict[str, Any]:
    """Writes `folder/00000.jsonl`, ... (one record a line) and `losses.jsonl`; a listing that is complete is kept.

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
    if folder.exists():
        shutil.rmtree(folder)  # a part of a listing: the archive's order is its own, so it begins again
    folder.mkdir(parents=True)
    excluded: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    terms: Counter[str] = Counter()
    damaged: Counter[str] = Counter()
    seen: set[int] = set()
    splits_of: dict[int, int] = {}
    units = {"patient": 0, "study": 0}
    losses = chunks = 0

    with (folder / LOSSES).open("w", encoding="utf-8") as lost:

        def records() -> Iterator[Record]:
            nonlocal losses
            for entry in tqdm(archive.records(), desc=f"list {archive.name}", unit="pair"):
                if isinstance(entry, Excluded):
                    excluded[entry.reason] += 1
                    continue
                loss = entry if isinstance(entry, Loss) else _mistake(entry, seen)
                if loss is not None:
                    losses += 1
                    _write_line(lost, {"item": loss.item, "reason": loss.reason, "stage": "listing"})
                elif isinstance(entry, Record):
                    fields = entry.fields
                    counts[fields["split"]] += 1
                    terms[fields["terms"]] += 1
                    damaged.update(damage(fields["report"]))
                    for unit, key in zip(units, unit_keys(fields), strict=True):
                        units[unit] += key not in splits_of
                        splits_of[key] = splits_of.get(key, 0) | 1 << SPLITS.index(fields["split"])
                    yield entry

        stream = islice(records(), limit)
        while chunk := list(islice(stream, CHUNK)):
            with atomic_path(folder / f"{chunks:05d}.jsonl") as temporary, temporary.open("w", encoding="utf-8") as file:
                for record in chunk:
                    _write_line(file, {"fields": dict(record.fields), "source": record.source})
            chunks += 1
        short = archive.shortfall() if limit is None else []
        for loss in short:
            losses += 1
            _write_line(lost, {"item": loss.item, "reason": loss.reason, "stage": "archive"})
    summary = {
        "chunks": chunks,
        "pairs": sum(counts.values()),
        "splits": {split: counts[split] for split in SPLITS},
        "patients": units["patient"],
        "studies": units["study"],
        "excluded": dict(excluded.most_common()),
        "losses": losses,
        "short": [f"{loss.item}: {loss.reason}" for loss in short],
        "leaks": {str(key): most_held_out(bits) for key, bits in splits_of.items() if bits & (bits - 1)},
        "damaged": dict(damaged.most_common()),
        "terms": dict(terms.most_common()),
        "facts": archive.facts(),
    }
    write_json(done, summary)
    return summary


def unit_keys(fields: Mapping[str, Any]) -> tuple[int, int]:
    """The patient and the study of a record as numbers, which may stand in one split only; a study is one of its patient."""
    return _short(f"patient {fields['patient']}"), _short(f"study {fields['patient']}\n{fields['study']}")


def read_chunk(folder: Path, chunk: int) -> list[Record]:
    """The records of one chunk of a listing."""
    lines = (folder / f"{chunk:05d}.jsonl").read_text(encoding="utf-8").split("\n")
    return [Record(**json.loads(line)) for line in lines if line]


def read_losses(folder: Path) -> Iterator[dict[str, str]]:
    """What the listing could not make a record of."""
    with (folder / LOSSES).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _mistake(record: Record, seen: set[int]) -> Loss | None:
    """What makes a record unfit to be a line of `pairs.jsonl`."""
    fields = record.fields
    name = str(fields.get("id") or record.source)
    for field in REQUIRED:
        value = fields.get(field)
        if not isinstance(value, str) or not value.strip():
            return Loss(name, f"field '{field}' is {'empty' if value == '' or isinstance(value, str) else 'missing'}")
    if fields["split"] not in SPLITS:
        return Loss(name, f"split '{fields['split']}' is none of {', '.join(SPLITS)}")
    key = _short(name)
    if key in seen:
        return Loss(name, "a second pair with this id")
    seen.add(key)
    return None


def _short(text: str) -> int:
    """64 bits of a hash: a million names in some tens of megabytes."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def most_held_out(bits: int) -> str:
    """Of the splits of a patient or an image, one bit each, the one that no training may see: test before val before train."""
    return next(split for split in reversed(SPLITS) if bits >> SPLITS.index(split) & 1)


def _write_line(file: Any, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
