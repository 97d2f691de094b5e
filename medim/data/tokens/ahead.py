"""A split's tokens, computed while a training goes on, in the order in which it comes to them."""

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from medim.data.dataset import PairDataset
from medim.data.tokens.cache import TokenSplit, assembled, open_store, tokenise
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer

FIRST, LARGEST = 256, 1024
"""Pairs that are tokenised at once: few at first, as a step waits for them, then ever more; what a kill loses at most."""
LOOK = 0.05  # seconds between two looks at what another process has stored


class TokensAhead:
    """What a training reads its tokens from, as from a `TokenSplit`; it waits for a row that is not stored yet.
    Within `with`, a thread of the process that `makes` them fills the cache of `tokenise_split` with the missing rows; other
    processes, and the next training after an interrupted one, find them there.
    `order`: the rows in need, in the order in which the training comes to them first.
    `makes`: whether this process computes tokens; of several on one cache only one does.
    Raises UserError: by `row`, `known` and `finish`: a pair has no report, or an image cannot be read."""

    def __init__(
        self,
        dataset: PairDataset,
        split: str,
        images: ImageTokenizer,
        reports: ReportTokenizer,
        cache: Path,
        count: int,
        order: np.ndarray,
        makes: bool = True,
        workers: int = 0,
    ) -> None:
        self.dataset, self.split, self.images, self.reports, self.workers = dataset, split, images, reports, workers
        self.store, self.order, self.makes = open_store(cache, dataset, split, images, reports), order, makes
        self._where = np.full((count, 2), -1, np.int64)  # file and place in it of each row
        self._seen = 0
        self._stop, self._news = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._where)

    def __enter__(self) -> Self:
        self._look()
        missing = self.order[self._where[self.order, 0] < 0]
        if self.makes and len(missing):
            self._thread = threading.Thread(target=self._make, args=(pieces(missing),), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def row(self, row: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        """As `TokenSplit.row`, of a row in need."""
        if self._where[row, 0] < 0:
            self._wait(row)
        file, place = map(int, self._where[row])
        columns = self.store.files_seen[file][1]
        image, report = (torch.from_numpy(columns[name][place : place + 1].astype(np.int64)) for name in ("image", "report"))
        return image, report, int(columns["prompt"][place])

    def known(self) -> TokenSplit:
        """The stored part of the rows in need, the first piece at least."""
        self._wait(int(self.order[0]))
        stored = np.sort(self.order[self._where[self.order, 0] >= 0])
        return assembled(self.store.files_seen, stored)

    def finish(self) -> TokenSplit:
        """All rows in need, once they are stored."""
        for row in self.order:
            if self._where[row, 0] < 0:
                self._wait(int(row))
        return self.known()

    def _wait(self, row: int) -> None:
        while True:
            self._news.clear()
            over = self._thread is not None and not self._thread.is_alive()
            self._look()
            if self._error is not None:
                raise self._error
            if self._where[row, 0] >= 0:
                return
            if over or (self.makes and self._thread is None):
                raise ValueError(f"row {row} is not in need")
            if self.makes:
                self._news.wait(1.0)
            else:
                time.sleep(LOOK)

    def _look(self) -> None:
        files = self.store.files()
        for number in range(self._seen, len(files)):
            rows = files[number][0]
            place = np.flatnonzero(rows < len(self))
            self._where[rows[place]] = np.stack([np.full(len(place), number), place], axis=1)
        self._seen = len(files)

    def _make(self, parts: Sequence[np.ndarray]) -> None:
        parts_read = tokenise(self.dataset, self.split, parts, self.images, self.reports, workers=self.workers, show=False)
        try:
            with closing(parts_read):
                for rows, columns in parts_read:
                    self.store.write(rows, columns)
                    self._news.set()
                    if self._stop.is_set():
                        return
        except BaseException as error:  # raised where the training waits
            self._error = error
        finally:
            self._news.set()


def pieces(order: np.ndarray) -> list[np.ndarray]:
    """Rows cut into pieces of `FIRST` to `LARGEST`, each of growing rows."""
    result, start, size = [], 0, FIRST
    while start < len(order):
        result.append(np.sort(order[start : start + size]))
        start, size = start + size, min(2 * size, LARGEST)
    return result
