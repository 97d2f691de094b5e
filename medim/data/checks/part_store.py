"""The parts of a check that have been read, on disk, so that a check that was stopped continues."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medim.common.files import atomic_path, hash_of
from medim.data.checks.reading import ROW, Part, Tally
from medim.data.dataset import PairDataset
from medim.data.sources.folder import FolderDataset

if TYPE_CHECKING:
    from medim.tokenizers.report import ReportTokenizer  # lazy: start-up


class PartStore:
    """The parts of one data set that have been read, a file each.

    A part counts only while its lines, the size and time of its image files, and the tokenizer are the same. Of a set that
    is no folder the fingerprint stands for them.

    Args:
        folder: new, or of a stopped check.
        tokenizer: counts tokens, as `check_dataset` has it.
    """

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
