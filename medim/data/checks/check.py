"""The check of a data set: reads every pair once, then compares, counts and reports."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from medim.common.files import atomic_path, hash_of
from medim.data.checks.leakage import Leakage
from medim.data.checks.reading import ROW, Part, Tally, parts, read_all
from medim.data.checks.report import LISTED, Issue, Report
from medim.data.checks.statistics import Statistics
from medim.data.dataset import PairDataset, keys_of
from medim.data.loading import load_dataset
from medim.data.sources.folder import FolderDataset
from medim.pair import SPLITS

if TYPE_CHECKING:
    from medim.tokenizers.report import ReportTokenizer


class PartStore:
    """The parts of one data set that have been read, a file each. A part counts only while its lines, the size and time of its
    image files, and the tokenizer are the same. Of a set that is no folder the fingerprint stands for them. `folder`: new, or
    of a stopped check. `tokenizer`: counts tokens, as `check_dataset` has it."""

    def __init__(self, folder: Path, dataset: PairDataset, tokenizer: "ReportTokenizer | None" = None) -> None:
        self.folder, self.dataset = folder, dataset
        whole = None if isinstance(dataset, FolderDataset) else dataset.fingerprint
        self._measured = [ROW.descr, tokenizer and tokenizer.fingerprint, whole]

    def get(self, part: Part) -> tuple[np.ndarray, Tally] | None:
        """Rows and tally of a part as `read_part` gave them; None where it has not been read, or has changed since."""
        if not self.folder.exists() or not (path := self._path(part)).exists():
            return None
        with np.load(path) as stored:
            of, damaged, failures = json.loads(str(stored["tally"]))
            tally = Tally(failures=[(item, reason) for item, reason in failures])
            tally.of.update({name: Counter(counts) for name, counts in of.items()})
            tally.damaged.update(damaged)
            return stored["rows"], tally

    def put(self, part: Part, rows: np.ndarray, tally: Tally) -> None:
        with atomic_path(self._path(part)) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, rows=rows, tally=json.dumps([tally.of, tally.damaged, tally.failures]))

    def clear(self) -> None:
        """Removes the folder: a check that has ended is not continued."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, part: Part) -> Path:
        sources: list[Any] = []
        if isinstance(self.dataset, FolderDataset):
            for index in range(part.start, part.stop):
                pair = self.dataset.pair(part.split, index)
                image = Path(str(pair.image))
                state = image.stat() if image.exists() else None
                sources.append([repr(pair), state and [state.st_size, state.st_mtime_ns]])
        return self.folder / f"{hash_of([vars(part), self._measured, sources])}.npz"


LENGTHS = (64, 128, 256)  # lengths that reports are held against where no model is named, in words
SYNTHETIC_LIMIT = 2000  # pairs of each split of a synthetic set that are drawn, unless a limit is given

_ORDER = ("error", "failure", "warning", "note")


def open_for_check(name: str) -> PairDataset:
    """Opens a data set as `load_dataset` does, but a folder also where it leaks or has broken lines, which the check reports.
    Raises UserError: no such set, or a folder without one sound line."""
    if not Path(name).exists():
        return load_dataset(name)
    return FolderDataset(Path(name), allow_leakage=True, allow_mistakes=True)


def check_dataset(
    dataset: PairDataset,
    *,
    limit: int | None = None,
    tokenizer: "ReportTokenizer | None" = None,
    lengths: Sequence[int] = LENGTHS,
    resolution: int | None = None,
    workers: int = 0,
    store: PartStore | None = None,
    progress: bool = False,
) -> Report:
    """Reads every pair of a data set and reports what is wrong with it.
    `limit`: pairs of each split that are read; by default all, of a synthetic set the first `SYNTHETIC_LIMIT`.
    `tokenizer`: counts tokens; without it reports are measured in words.
    `lengths`: of the model, in tokens with the end where there is a tokenizer, else in words.
    `resolution`: of the model; smaller pictures are named.
    `workers`: processes that read; 0 reads in this one. With workers the data set must be picklable.
    `store`: of a stopped check of this set; its parts are not read again, and what is read is added to it."""
    limit = SYNTHETIC_LIMIT if limit is None and dataset.synthetic else limit
    sizes = {split: dataset.size(split) for split in SPLITS}
    read = {split: size if limit is None else min(size, limit) for split, size in sizes.items()}
    rows = np.zeros(sum(read.values()), dtype=ROW)
    offsets = dict(zip(read, np.cumsum([0, *read.values()]), strict=False))
    pieces: dict[tuple[str, int], Tally] = {}
    with tqdm(total=len(rows), desc=f"check {dataset.name}", unit="pair", disable=not progress) as bar:
        for part, (some, tally) in _read(dataset, parts(read), tokenizer, workers, store):
            at = int(offsets[part.split])
            rows[at + part.start : at + part.stop] = some
            pieces[part.split, part.start] = tally
            bar.update(len(some))
    tallies = {split: Tally() for split in read}
    for split, start in sorted(pieces):  # in their order, whatever order they came in
        tallies[split].add(pieces[split, start])

    statistics = Statistics(rows, tallies, lengths, "words" if tokenizer is None else "tokens", resolution)
    mistakes = dataset.mistakes if isinstance(dataset, FolderDataset) else ()
    failures = (*(("line", mistake) for mistake in mistakes), *(lost for tally in tallies.values() for lost in tally.failures))
    issues = [*Leakage(dataset, rows, tuple(read)).issues()]
    if failures:
        message = f"{len(failures)} of {len(rows) + len(mistakes)} pairs cannot be read"
        issues.append(Issue("failure", "unreadable", message, tuple(reason for _, reason in failures[:LISTED])))
    issues += statistics.issues(lambda split, index: keys_of(dataset, split, index).id)
    if read != sizes:
        left = ", ".join(f"{read[split]} of {sizes[split]} {split}" for split in read)
        issues.append(Issue("note", "partial", f"only a part was read: {left}", advice="--limit N reads more"))
    issues.sort(key=lambda issue: _ORDER.index(issue.severity))
    return Report(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint if read == sizes else None,
        terms=dataset.terms,
        sizes=read,
        statistics=statistics.numbers,
        tables=tuple(statistics.tables()),
        issues=tuple(issues),
        failures=failures,
    )


def _read(
    dataset: PairDataset, wanted: list[Part], tokenizer: "ReportTokenizer | None", workers: int, store: PartStore | None
) -> Iterator[tuple[Part, tuple[np.ndarray, Tally]]]:
    """Rows and tally of every part: those that are stored, then those that have to be read."""
    left = []
    for part in wanted:
        if store is not None and (found := store.get(part)) is not None:
            yield part, found
        else:
            left.append(part)
    for part, found in read_all(dataset, left, tokenizer, workers):
        if store is not None:
            store.put(part, *found)
        yield part, found
