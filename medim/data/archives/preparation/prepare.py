"""From an archive to a folder with `pairs.jsonl`: list, plan, store the pictures in workers, merge; goes on after a kill."""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from medim.common.claims import refuse_another
from medim.common.errors import UserError
from medim.common.files import atomic_path, hash_of, is_temporary, read_json, write_json, write_text
from medim.common.locks import LOCK, held
from medim.common.workers import as_done, process_pool
from medim.data import splits
from medim.data.archives.archive import Archive
from medim.data.archives.preparation.listing import LOSSES, make_listing, most_held_out, read_chunk, read_lines
from medim.data.archives.preparation.pictures import Storage, encode, make_chunk
from medim.data.sources.folder import FolderDataset
from medim.pair import SPLITS

SAMPLE = 16  # pictures that are read and encoded for the estimate of disk space

_WORK = ".work"
_LOST = "failures.jsonl"
_MANIFEST = "manifest.json"
_WRITTEN = (_MANIFEST, _WORK, "images", "pairs.jsonl", _LOST, "splits.json", "prepare.json")


@dataclass(frozen=True)
class Plan:
    """What a preparation is about to do."""

    listing: dict[str, Any]  # see `make_listing`
    bytes_needed: int | None  # estimate for the pictures, from a sample; None where no picture of the sample could be read
    bytes_free: int  # of the disk that holds `out`
    # tried, unread: number of pictures of the sample, and why some of them cannot be read
    tried: int
    unread: list[str]


@dataclass(frozen=True)
class Prepared:
    """What a preparation did: pairs by split, number of failures (`failures.jsonl`), and the first of them in words."""

    splits: dict[str, int]
    failures: int
    first: str = ""


class Preparation:
    """One archive into one folder, within `claimed`. `archive`: see `open_archive`. `out`: `pairs.jsonl`, `images/`,
    `manifest.json`, `splits.json`, and `failures.jsonl` where something was lost. `storage`: how pictures are stored.
    `workers`: processes that read pictures; 0 reads them in this one. `limit`: only the first pairs of the archive."""

    def __init__(
        self, archive: Archive, out: Path, storage: Storage | None = None, workers: int = 0, limit: int | None = None
    ) -> None:
        self.archive, self.out, self.workers, self.limit = archive, out, workers, limit
        self.storage = storage or Storage()

    @contextmanager
    def claimed(self, overwrite: bool = False) -> Iterator[None]:
        """Holds `out` for this preparation, new or to be continued; `overwrite` removes what an earlier one left there.
        Raises UserError: `out` holds a preparation with other options, files of others or a part of the archive, or another
        process works in it."""
        path = self.out / "prepare.json"
        self._refuse_own_source()
        present = [child.name for child in self.out.iterdir()] if self.out.exists() else []
        if not path.exists() and any(name not in (LOCK, _LOST) and not is_temporary(name) for name in present):
            raise UserError(f"'{self.out}' holds other files; choose an empty folder for --out")
        with held(self.out):
            if overwrite:
                self._clear()
            given = self._configuration()
            before = read_json(path) if path.exists() else given
            before = {key: before.get(key) for key in given}
            refuse_another(self.out, "a preparation", before, given, unset_is_null=True)
            write_json(path, given)
            if self.finished:  # and killed before its last act
                shutil.rmtree(self.out / _WORK, ignore_errors=True)
            try:
                yield
            finally:
                if not self.finished and not (self.out / "images").exists():  # nothing stored: the next may choose anew
                    self._clear(but=_LOST)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        path = self.out / _MANIFEST
        return path.exists() and read_json(path)["complete"]

    def plan(self) -> Plan:
        """Lists the archive, reads a few pictures, and writes the plan as `manifest.json` (`complete` is false).
        Raises UserError: the archive is not what its adapter expects, or nothing is left of it."""
        if not (self.out / "images").exists():  # nothing relies on an earlier listing, and the archive may have been mended
            shutil.rmtree(self._listing, ignore_errors=True)
        plan = self._planned(self._listing, self.out / _LOST)
        write_json(self.out / _MANIFEST, self._manifest(plan, complete=False))
        return plan

    def dry_plan(self) -> Plan:
        """The `plan`, of a listing in the system's folder for temporary files: `out` need not exist, and stays as it is."""
        self._refuse_own_source()
        with tempfile.TemporaryDirectory(prefix="medim-prepare-") as folder:
            return self._planned(Path(folder) / "listing")

    def _planned(self, folder: Path, failures: Path | None = None) -> Plan:
        """The plan of a listing in `folder`; where that holds no pair, `failures` gets what was lost."""
        listing = make_listing(self.archive, folder, self.limit)
        if not listing["pairs"]:
            reasons = [f"{count} x {reason}" for reason, count in listing["excluded"].items()]
            first = next(read_lines(folder / LOSSES), None)
            if first is not None:
                reasons.append(f"{listing['losses']} lost, the first: {first['item']}: {first['reason']}")
                if failures is not None:
                    write_text(failures, (folder / LOSSES).read_text(encoding="utf-8"))
            raise UserError(
                f"{self.archive.name}: '{self.archive.root}' yields no pair ({'; '.join(reasons) or 'it is empty'})"
            )
        sizes, unread = self._sample(folder, listing["chunks"])
        needed = round(sum(sizes) / len(sizes) * listing["pairs"]) if sizes else None
        disk = next(place for place in (self.out, *self.out.absolute().parents) if place.exists())
        return Plan(listing, needed, shutil.disk_usage(disk).free, len(sizes) + len(unread), unread)

    def make(self, plan: Plan) -> Prepared:
        """Stores the pictures that are left, then merges. Raises UserError: the disk is too small, or a worker died. Raises
        KeyboardInterrupt: Ctrl-C; the same preparation continues."""
        if plan.bytes_needed is not None and plan.bytes_needed > plan.bytes_free:
            raise UserError(
                f"'{self.out}' has {plan.bytes_free / 1e9:.1f} GB free and about {plan.bytes_needed / 1e9:.1f} GB are needed; "
                "choose another --out, a smaller --longest-side or --format jpeg"
            )
        chunks = plan.listing["chunks"]
        left = [chunk for chunk in range(chunks) if not self._done(chunk).exists()]
        with tqdm(total=chunks, initial=chunks - len(left), desc="pictures", unit="chunk") as bar:
            for _ in self._run(left, plan.listing["leaks"]):
                bar.update()
        return self._merge(plan)

    def prepared(self) -> Prepared:
        manifest = read_json(self.out / _MANIFEST)
        failures = sum(manifest["failures"].values())
        return Prepared(manifest["splits"], failures, self._first_loss() if failures else "")

    def _first_loss(self) -> str:
        return "{item}: {reason}".format(**next(read_lines(self.out / _LOST)))

    # ---- configuration -----------------------------------------------------------------------------------------------------

    @property
    def _listing(self) -> Path:
        return self.out / _WORK / "listing"

    def _done(self, chunk: int) -> Path:
        return self.out / _WORK / "made" / f"{chunk:05d}.jsonl"

    def _configuration(self) -> dict[str, Any]:
        return {
            "archive": self.archive.name,
            "root": str(self.archive.root.absolute() if self.archive.root.exists() else self.archive.root),  # or a hub id
            "options": self.archive.options.model_dump(mode="json"),
            "storage": asdict(self.storage),
            "limit": self.limit,
        }

    def _refuse_own_source(self) -> None:
        """What is read, the root or a file or folder that an option names, must not lie where it would be written over."""
        root, options = self.archive.root, self.archive.options.model_dump().values()
        for path in (root, *(root / value for value in options if isinstance(value, str | Path))):
            if os.path.exists(path) and path.resolve().is_relative_to(self.out.resolve()):
                raise UserError(f"'{path}', which is read, lies in --out '{self.out}'; choose another --out")

    def _clear(self, but: str = "") -> None:
        for path in (self.out / name for name in _WRITTEN if name != but):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    # ---- making ------------------------------------------------------------------------------------------------------------

    def _sample(self, folder: Path, number: int) -> tuple[list[int], list[str]]:
        """Of pictures spread over the `number` chunks of a listing: the bytes of each, or why it cannot be read."""
        chunks = sorted({chunk * number // SAMPLE for chunk in range(SAMPLE)})
        sizes, unread = [], []
        for chunk in chunks:
            records = read_chunk(folder, chunk)
            for record in records[:: max(1, len(records) * len(chunks) // SAMPLE)]:
                try:
                    sizes.append(len(encode(self.archive.image(record.source), self.storage)))
                except UserError as error:
                    unread.append(str(error))
        return sizes, unread

    def _run(self, chunks: list[int], leaks: dict[str, str]) -> Iterator[Any]:
        """Stores the pictures of chunks in this process or in workers; yields after each."""
        done = self._done(0).parent
        make = partial(make_chunk, archive=self.archive, listing=self._listing, done=done, out=self.out, storage=self.storage)
        make = partial(make, leaks=leaks)
        if not self.workers:
            yield from map(make, chunks)
            return
        pool = process_pool(self.workers)
        try:
            yield from as_done(pool, make, chunks, ahead=2 * self.workers)
        except BrokenProcessPool:
            raise UserError(
                "a worker process died (killed, out of memory, or a library crashed on a file); the same command continues, "
                "--workers 0 shows where"
            ) from None
        except BaseException:
            for process in list(pool._processes.values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _merge(self, plan: Plan) -> Prepared:
        """`pairs.jsonl`, `failures.jsonl`, `splits.json` and the final `manifest.json`; then the work folder goes."""
        counts, stages = Counter[str](), Counter[str]()
        digest = hashlib.sha256()
        with (
            atomic_path(self.out / "pairs.jsonl") as pairs,
            atomic_path(self.out / _LOST) as failures,
            pairs.open("w", encoding="utf-8") as rows,
            failures.open("w", encoding="utf-8") as lost,
        ):
            for line in self._results(plan):
                text = json.dumps(line, ensure_ascii=False) + "\n"
                if "image" in line:
                    counts[line["split"]] += 1
                    digest.update(text.encode())
                    rows.write(text)
                else:
                    stages[line["stage"]] += 1
                    lost.write(text)
        if not counts:
            reason = f"{stages.total()} failures, the first: {self._first_loss()}; all are in '{self.out / _LOST}'"
            self._clear(but=_LOST)  # nothing to continue
            raise UserError(f"no picture of '{self.archive.root}' could be read: {reason}")
        if not stages:
            (self.out / _LOST).unlink()
        for leftover in (self.out / "images").glob("*/.*"):  # of a kill
            leftover.unlink()
        splits.save_splits(self.out / "splits.json", FolderDataset(self.out))
        manifest = self._manifest(plan, complete=True)
        manifest |= {"splits": dict(counts), "failures": dict(stages), "pairs_sha256": digest.hexdigest()}
        write_json(self.out / _MANIFEST, manifest)
        shutil.rmtree(self.out / _WORK)
        return self.prepared()

    def _results(self, plan: Plan) -> Iterator[dict[str, Any]]:
        """Failures and rows; of an image in several splits the rows of the most held-out one, the others are failures."""
        yield from read_lines(self._listing / LOSSES)
        splits_of: Counter[str] = Counter()  # of each image, one bit a split
        for line in self._lines(plan):
            if "image" in line:
                splits_of[line["image_sha256"]] |= 1 << SPLITS.index(line["split"])
        for line in self._lines(plan):
            if "image" in line:
                split, final = line["split"], most_held_out(splits_of[line["image_sha256"]])
                if split != final:
                    (self.out / line["image"]).unlink(missing_ok=True)
                    reason = f"its image is in '{split}' and in '{final}'; only the pairs in '{final}' are kept"
                    line = {"item": line["id"], "reason": reason, "stage": "leakage"}
            yield line

    def _lines(self, plan: Plan) -> Iterator[dict[str, Any]]:
        for chunk in range(plan.listing["chunks"]):
            yield from read_lines(self._done(chunk))

    def _manifest(self, plan: Plan, complete: bool) -> dict[str, Any]:
        listing = {key: value for key, value in plan.listing.items() if key not in ("chunks", "leaks")}
        configuration = self._configuration()
        return {
            **listing,
            "complete": complete,
            "terms": "; ".join(plan.listing["terms"]),
            "archive": self.archive.name,
            "options": configuration["options"],
            "storage": configuration["storage"],
            "configuration": hash_of(configuration["options"] | configuration["storage"]),
            "in_two_splits": len(plan.listing["leaks"]),
            "bytes_needed": plan.bytes_needed,
        }
