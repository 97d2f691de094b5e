"""From an archive to a folder with `pairs.jsonl`: list, plan, make the pictures in workers, merge; goes on after a kill."""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import atomic_path, hash_of, is_temporary, write_json, write_text
from medim.common.locks import LOCK, held
from medim.common.workers import process_pool
from medim.data.archives.archive import Archive
from medim.data.archives.listing import LOSSES, make_listing, most_held_out, read_chunk, read_losses
from medim.data.archives.making import make_chunk
from medim.data.archives.picture import Storage, encode
from medim.pair import SPLITS

SAMPLE = 16
"""Pictures that are really read and encoded for the estimate of disk space."""

_WORK = ".work"
_LOST = "failures.jsonl"
_OWNED = ("manifest.json", _WORK, "images", "pairs.jsonl", _LOST, "splits.json", "prepare.json")


@dataclass(frozen=True)
class Plan:
    """What is about to be made.

    Attributes:
        listing: see `make_listing`.
        bytes_needed: estimate for the pictures, from a sample; None where no picture of the sample could be read.
        bytes_free: of the disk that holds `out`.
        tried: pictures of the sample.
        unread: why some of them cannot be read.
    """

    listing: dict[str, Any]
    bytes_needed: int | None
    bytes_free: int
    tried: int
    unread: list[str]


@dataclass(frozen=True)
class Prepared:
    """What was made: pairs by split, how many things could not be (`failures.jsonl`), and the first of them in words."""

    splits: dict[str, int]
    failures: int
    first: str = ""


class Preparation:
    """One archive into one folder, within `claimed`.

    Args:
        archive: see `open_archive`.
        out: `pairs.jsonl`, `images/`, `manifest.json`, `splits.json`, and `failures.jsonl` where something was lost.
        storage: how pictures are kept.
        workers: processes that read pictures; 0 reads them in this one.
        limit: only the first pairs of the archive.
    """

    def __init__(
        self,
        archive: Archive,
        out: Path,
        storage: Storage | None = None,
        workers: int = 0,
        limit: int | None = None,
    ) -> None:
        self.archive, self.out, self.workers, self.limit = archive, out, workers, limit
        self.storage = storage or Storage()

    @contextmanager
    def claimed(self, overwrite: bool = False) -> Iterator[None]:
        """Holds `out` for this preparation, new or to be continued.

        Args:
            overwrite: remove what an earlier preparation left in `out`.

        Raises:
            UserError: `out` holds a preparation with other options, files of others or a part of the archive, or another
                process works in it.
        """
        path = self.out / "prepare.json"
        self._refuse_own_source()
        present = [child.name for child in self.out.iterdir()] if self.out.exists() else []
        if not path.exists() and any(name not in (LOCK, _LOST) and not is_temporary(name) for name in present):
            raise UserError(f"'{self.out}' holds other files; choose an empty folder for --out")
        with held(self.out):
            if overwrite:
                self._clear()
            given = self._configuration()
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else given
            for key in given:
                if given[key] != before.get(key):
                    raise UserError(
                        f"'{self.out}' holds a preparation with {key} = {before.get(key)!r}, not {given[key]!r}; "
                        "choose another --out or give --overwrite"
                    )
            write_json(path, given)
            if self.finished:  # and killed before its last act
                shutil.rmtree(self.out / _WORK, ignore_errors=True)
            try:
                yield
            finally:
                if not self.finished and not (self.out / "images").exists():  # nothing made: the next may choose anew
                    self._clear(but=_LOST)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        path = self.out / "manifest.json"
        return path.exists() and json.loads(path.read_text(encoding="utf-8"))["complete"]

    def plan(self) -> Plan:
        """Lists the archive, reads a few pictures, and writes the plan as `manifest.json` (`complete` is false).

        Raises:
            UserError: the archive is not what its adapter expects, or nothing is left of it.
        """
        if not (self.out / "images").exists():  # nothing relies on an earlier listing, and the archive may have been mended
            shutil.rmtree(self._listing, ignore_errors=True)
        plan = self._planned(self._listing, self.out / _LOST)
        write_json(self.out / "manifest.json", self._manifest(plan, complete=False))
        return plan

    def dry_plan(self) -> Plan:
        """The plan, of a listing in the system's folder for temporary files: `out` need not exist, and stays as it is.

        Raises:
            UserError: as `plan`.
        """
        self._refuse_own_source()
        with tempfile.TemporaryDirectory(prefix="medim-prepare-") as folder:
            return self._planned(Path(folder) / "listing")

    def _planned(self, folder: Path, failures: Path | None = None) -> Plan:
        """The plan of a listing in `folder`; where that holds no pair, `failures` gets what was lost."""
        listing = make_listing(self.archive, folder, self.limit)
        if not listing["pairs"]:
            reasons = [f"{count} x {reason}" for reason, count in listing["excluded"].items()]
            first = next(read_losses(folder), None)
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
        """Makes what is left to be made, then merges.

        Raises:
            UserError: the disk is too small, or a worker died.
            KeyboardInterrupt: Ctrl-C; the same preparation continues.
        """
        if plan.bytes_needed is not None and plan.bytes_needed > plan.bytes_free:
            raise UserError(
                f"'{self.out}' has {plan.bytes_free / 1e9:.1f} GB free and about {plan.bytes_needed / 1e9:.1f} GB are needed; "
                "choose another --out, a smaller --longest-side or --format jpeg"
            )
        left = [chunk for chunk in range(plan.listing["chunks"]) if not self._made(chunk).exists()]
        bar = tqdm(total=plan.listing["chunks"], initial=plan.listing["chunks"] - len(left), desc="pictures", unit="chunk")
        with bar:
            for _ in self._run(left, plan.listing["leaks"]):
                bar.update()
        return self._merge(plan)

    def prepared(self) -> Prepared:
        """What a finished preparation made."""
        manifest = json.loads((self.out / "manifest.json").read_text(encoding="utf-8"))
        failures = sum(manifest["failures"].values())
        return Prepared(manifest["splits"], failures, self._first_loss() if failures else "")

    def _first_loss(self) -> str:
        with (self.out / _LOST).open(encoding="utf-8") as file:
            return "{item}: {reason}".format(**json.loads(next(file)))

    # ---- configuration -----------------------------------------------------------------------------------------------------

    @property
    def _listing(self) -> Path:
        return self.out / _WORK / "listing"

    def _made(self, chunk: int) -> Path:
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
        """Removes what a preparation writes."""
        for path in (self.out / name for name in _OWNED if name != but):
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

    def _run(self, chunks: list[int], leaks: dict[str, str]) -> Iterator[int]:
        """Makes chunks in this process or in workers; yields each that is done."""
        make = partial(
            make_chunk, listing=self._listing, archive=self.archive, out=self.out, storage=self.storage, leaks=leaks
        )  # fmt: skip
        if not self.workers:
            for chunk in chunks:
                yield make(chunk, self._made(chunk))
            return
        pool = process_pool(self.workers)
        waiting: set[Future[int]] = set()
        try:
            for chunk in chunks:
                waiting.add(pool.submit(make, chunk, self._made(chunk)))
                if len(waiting) >= 2 * self.workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in waiting)
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
        from medim.data.sources.folder import FolderDataset
        from medim.data.splits import save_splits

        splits: Counter[str] = Counter()
        stages: Counter[str] = Counter()
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
                    splits[line["split"]] += 1
                    digest.update(text.encode())
                    rows.write(text)
                else:
                    stages[line["stage"]] += 1
                    lost.write(text)
        if not splits:
            reason = f"{stages.total()} failures, the first: {self._first_loss()}; all are in '{self.out / _LOST}'"
            self._clear(but=_LOST)  # nothing to continue
            raise UserError(f"no picture of '{self.archive.root}' could be read: {reason}")
        if not stages:
            (self.out / _LOST).unlink()
        for leftover in (self.out / "images").glob("*/.*"):  # of a kill
            leftover.unlink()
        save_splits(self.out / "splits.json", FolderDataset(self.out))
        manifest = self._manifest(plan, complete=True)
        manifest |= {"splits": dict(splits), "failures": dict(stages), "pairs_sha256": digest.hexdigest()}
        write_json(self.out / "manifest.json", manifest)
        shutil.rmtree(self.out / _WORK)
        return self.prepared()

    def _results(self, plan: Plan) -> Iterator[dict[str, Any]]:
        """Failures and rows; of an image in several splits the rows of the most held-out one, the others are failures."""
        yield from read_losses(self._listing)
        splits: dict[int, int] = {}
        for line in self._lines(plan):
            if "image" in line:
                key = int(line["image_sha256"], 16)
                splits[key] = splits.get(key, 0) | 1 << SPLITS.index(line["split"])
        for line in self._lines(plan):
            if "image" in line:
                split, kept = line["split"], most_held_out(splits[int(line["image_sha256"], 16)])
                if split != kept:
                    (self.out / line["image"]).unlink(missing_ok=True)
                    reason = f"its image is in '{split}' and in '{kept}'; only the pairs in '{kept}' are kept"
                    line = {"item": line["id"], "reason": reason, "stage": "leakage"}
            yield line

    def _lines(self, plan: Plan) -> Iterator[dict[str, Any]]:
        for chunk in range(plan.listing["chunks"]):
            with self._made(chunk).open(encoding="utf-8") as file:
                yield from map(json.loads, file)

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
