"""Pairs as batches of pixels and reports, read in order ahead of whoever encodes them."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from PIL import Image

from medim.common.workers import bind, call_bound, process_pool
from medim.data.dataset import PairDataset
from medim.imaging.images import as_rgb, square
from medim.pair import ImageReportPair

Rows = TypeVar("Rows", range, np.ndarray)
AHEAD = 2  # batches that each worker is ahead


@dataclass(frozen=True)
class Batch:
    """Consecutive pairs of a split: `pixels` of shape (B, side, side, 3), uint8, reports (None where missing) and ids."""

    pixels: np.ndarray
    reports: tuple[str | None, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def images(self) -> list[Image.Image]:
        return [Image.fromarray(pixels) for pixels in self.pixels]


def pixels(pair: ImageReportPair, side: int) -> Image.Image:
    """The pair's image in the one declared geometry."""
    return square(as_rgb(pair.image), side)


def read_batch(dataset: PairDataset, split: str, rows: Sequence[int], side: int) -> Batch:
    pairs = [dataset.pair(split, int(row)) for row in rows]
    values = np.stack([np.asarray(pixels(pair, side)) for pair in pairs])
    return Batch(values, tuple(pair.report for pair in pairs), tuple(pair.id for pair in pairs))


def read_batches(
    dataset: PairDataset, split: str, pieces: Iterable[Sequence[int]], side: int, workers: int = 0
) -> Generator[Batch, None, None]:
    """A batch for each of `pieces` (rows of a split), in order; while the caller works on one, the next are being read.
    `side`: of the square pictures, in pixels.
    `workers`: processes that read (the data set is sent to them by pickle); 0 reads in a thread of this process, which is
    enough where decoding releases Python's lock and costs less than the caller's work.
    Raises UserError: an image cannot be read."""
    read: Callable[[Sequence[int]], Batch] = partial(read_batch, dataset, split, side=side)
    executor: Executor = ThreadPoolExecutor(1)
    if workers:
        executor, read = process_pool(workers, bind, read), call_bound
    waiting: deque[Future[Batch]] = deque()
    try:
        for piece in pieces:
            waiting.append(executor.submit(read, piece))
            if len(waiting) > AHEAD * max(workers, 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def worker_pool(
    dataset: PairDataset, split: str, side: int, workers: int
) -> Iterator[Callable[[Iterable[Sequence[int]]], Iterator[Batch]]]:
    """Processes that read nothing ahead: a function from pieces to their batches, in order."""
    with process_pool(workers, bind, partial(read_batch, dataset, split, side=side)) as executor:
        yield lambda pieces: executor.map(call_bound, pieces)


def cut(rows: Rows, batch: int) -> list[Rows]:
    """Consecutive pieces of at most `batch` rows."""
    return [rows[start : start + batch] for start in range(0, len(rows), batch)]
