"""The parts of a check that have been read, on disk: one line a part, so that a check that was stopped continues."""

import json
import os
import zlib
from base64 import b64decode, b64encode
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medim.common.files import hash_of
from medim.data.checks.reading import ROW, Part, Tally
from medim.data.dataset import PairDataset
from medim.data.sources.folder import FolderDataset

if TYPE_CHECKING:
    from medim.tokenizers.report import ReportTokenizer


class PartStore:
    """The parts of one data set that have been read, in one file.

    A part counts only while its lines, the size and time of its image files, and the tokenizer are the same. Of a set that
    is no folder the fingerprint stands for them.

    Args:
        path: the file; new, or of a stopped check.
        tokenizer: counts tokens, as `check_dataset` has it.
    """

    def __init__(self, path: Path, dataset: PairDataset, tokenizer: "ReportTokenizer | None" = None) -> None:
        self.path, self.dataset = path, dataset
        whole = None if isinstance(dataset, FolderDataset) else dataset.fingerprint
        self._measured = [ROW.descr, tokenizer and tokenizer.fingerprint, whole]
        self._places: dict[str, int] = {}
        if not path.exists():
            return
        with path.open("r+b") as stream:
            place = 0
            for line in stream:
                if not line.endswith(b"\n"):  # a killed process left a part of a line
                    stream.truncate(place)
                    break
                self._places[line[: line.index(b" ")].decode()] = place
                place += len(line)

    def get(self, part: Part) -> tuple[np.ndarray, Tally] | None:
        """Rows and tally of a part as `read_part` gave them; None where it has not been read, or has changed since."""
        if not self._places or (place := self._places.get(self._key(part))) is None:
            return None
        with self.path.open("rb") as stream:
            stream.seek(place)
            stored = json.loads(zlib.decompress(b64decode(stream.readline().split(b" ")[1])))
        tally = Tally(**stored["tally"])
        for name, value in stored["tally"].items():
            if isinstance(getattr(Tally(), name), Counter):
                setattr(tally, name, Counter(value))
        tally.failures = [(item, reason) for item, reason in tally.failures]
        return np.frombuffer(b64decode(stored["rows"]), dtype=ROW), tally

    def put(self, part: Part, rows: np.ndarray, tally: Tally) -> None:
        """Stores a part; returns when it is on disk."""
        stored = {"rows": b64encode(rows.tobytes()).decode(), "tally": vars(tally)}
        line = f"{self._key(part)} ".encode() + b64encode(zlib.compress(json.dumps(stored).encode(), 1)) + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())

    def clear(self) -> None:
        """Removes the file: a check that has ended is not continued."""
        self.path.unlink(missing_ok=True)

    def _key(self, part: Part) -> str:
        sources: list[Any] = []
        if isinstance(self.dataset, FolderDataset):
            for index in range(part.start, part.stop):
                pair = self.dataset.pair(part.split, index)
                image = Path(str(pair.image))
                state = image.stat() if image.exists() else None
                sources.append([repr(pair), state and [state.st_size, state.st_mtime_ns]])
        return hash_of([vars(part), self._measured, sources])
