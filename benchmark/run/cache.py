"""What outlives a run and serves the next one: anchors' scores, features of reference images, findings read from references.
A folder of entries named by the hash of all that they depend on. Nothing in it is ever changed; what no run read or wrote for
`KEPT_DAYS` goes. Two runs may share it while both write: an entry appears whole or not at all."""

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.systems import withheld
from medim.common.errors import UserError
from medim.common.files import atomic_path, home, write_json
from medim.common.locks import LOCK, locked
from medim.data.dataset import PairDataset

VARIABLE = "MEDIM_BENCH_CACHE"
KEPT_DAYS = 60
ENTRIES, FEATURES, FINDINGS, TOKENS = "entries", "features", "findings", "tokens"
_VALUE = "value.json"
NO_CACHE = "none"


def default_folder() -> Path:
    """The folder that `MEDIM_BENCH_CACHE` names, else `medim-bench` in the user's cache (`XDG_CACHE_HOME`, `~/.cache`)."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "medim-bench"


def cache_folder(given: str | None, dataset: PairDataset) -> Path | None:
    """The folder that runs share: as given, else the user's own; None for `none`.
    Of data under restricting terms nothing is stored outside --out unless a folder is named."""
    if given == NO_CACHE:
        return None
    if given is not None:
        return Path(given)
    return None if withheld(dataset.terms) else default_folder()


class SharedCache:
    """Entries that hold a JSON value and files. `folder`: created where it is missing, readable by its owner alone: reports and
    images of references may lie in it. Raises UserError: the folder cannot be created or written to."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.folder / ENTRIES).mkdir(exist_ok=True)
            self._sweep()
            self._forget_unused()
        except OSError as error:
            raise UserError(f"--cache {self.folder} cannot be used: {error.strerror}; --cache none goes without") from error

    @property
    def features(self) -> Path:
        """Folder of feature banks (`tasks.metrics.image.features`)."""
        return self.folder / FEATURES

    @property
    def findings(self) -> Path:
        """Folder of what checkers read from references (`benchmark.run.data`)."""
        return self.folder / FINDINGS

    @property
    def tokens(self) -> Path:
        """Folder of tokenised references, one folder for each state of `tasks.metrics.text.ngrams`."""
        return self.folder / TOKENS

    def take(self, key: str, out: Path) -> Any | None:
        """The value of an entry, its files now in `out` too, in place of what was there; None without such an entry."""
        entry = self.folder / ENTRIES / key
        try:
            value = json.loads((entry / _VALUE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        os.utime(entry)
        files = entry / "files"
        for path in sorted(files.rglob("*")):
            if path.is_file():
                _copy(path, out / path.relative_to(files))
        return value

    def keep(self, key: str, out: Path, files: Iterable[Path], value: Any) -> None:
        """Makes an entry of a JSON-able value and copies of files, each inside `out`; one that is there already stays."""
        entry = self.folder / ENTRIES / key
        if entry.exists():
            return
        with locked(self.folder / LOCK, shared=True):  # while it is held nobody takes an incomplete entry for a killed run's
            temporary = self.folder / ENTRIES / f".{secrets.token_hex(4)}"
            temporary.mkdir()  # not mkdtemp: the process's umask says who may read
            try:
                for path in dict.fromkeys(files):
                    _copy(path, temporary / "files" / path.relative_to(out))
                write_json(temporary / _VALUE, value)
                try:
                    temporary.rename(entry)
                except OSError:  # another run wrote the same entry meanwhile
                    if not entry.is_dir():
                        raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _sweep(self) -> None:
        """Removes the incomplete entries of killed runs where no run writes any now, files that are an hour old."""
        left = list((self.folder / ENTRIES).glob(".*/"))
        if left:
            with locked(self.folder / LOCK, wait=False) as mine:
                for folder in left if mine else ():
                    shutil.rmtree(folder, ignore_errors=True)
        for path in self.folder.glob("*/*/.*"):
            with suppress(FileNotFoundError):  # it was being written, and is whole now
                if path.is_file() and path.stat().st_mtime < time.time() - 3600:
                    path.unlink()

    def _forget_unused(self) -> None:
        oldest = time.time() - KEPT_DAYS * 86400
        folders = [self.folder / name for name in (ENTRIES, FEATURES, FINDINGS, TOKENS)]
        for entry in [entry for folder in folders if folder.is_dir() for entry in folder.iterdir()]:
            with suppress(FileNotFoundError):  # another run forgets, too
                if all(used < oldest for used in _uses(entry)):
                    shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()


def _uses(entry: Path) -> Iterator[float]:
    """When an entry and the files in it were last written or, as far as the file system notes it, read."""
    yield entry.stat().st_mtime
    for path in [entry] if entry.is_file() else entry.rglob("*"):
        if path.is_file():
            yield max(path.stat().st_mtime, path.stat().st_atime)


def _copy(source: Path, target: Path) -> None:
    """Copies a file, whole or not at all."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
