"""How fast pairs are read, how fast their images are tokenised, and whether memory stays flat: one run, alternating."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from medim.common.errors import UserError
from medim.data.dataset import PairDataset
from medim.data.sources.packed import cache_pictures
from medim.data.tokens.read_ahead import Batch, cut, read_batch, worker_pool
from medim.tokenizers.image import ImageTokenizer

TURN = 512  # pairs of one turn: read, then tokenised, then the next
BATCH = 64


@dataclass
class Clock:
    """Images and seconds of one activity."""

    images: int = 0
    seconds: float = 0.0

    @contextmanager
    def running(self, images: int) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started
        self.images += images

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class DataSpeed:
    """What `measure` found. Rates are images a second (a pair has one image); memory is resident, of this process, in MB."""

    data: str
    data_fingerprint: str
    split: str
    pairs: int
    rounds: float  # how often the split was gone through
    resolution: int
    tokenizer: str
    device: str
    threads: int
    workers: int
    cached: bool  # whether pictures were read that had been packed before, in place of drawing or decoding them
    # read, tokenise: rates of reading pairs, and of encoding their images
    read: float
    tokenise: float
    # memory_at_tenth, memory_at_end: the most that was held between turns in the first tenth of the pairs, and in all
    memory_at_tenth: float
    memory_at_end: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """The figures in lines."""
        around = f", gone through {self.rounds:.2f} times" if self.rounds > 1 else ""
        reading = "reading (cached pictures)" if self.cached else "reading (drawn or decoded)"
        growth = self.memory_at_end / self.memory_at_tenth - 1
        return (
            f"{self.data} ({self.split}{around}): {self.pairs:,} pairs at {self.resolution} px, tokenizer {self.tokenizer} on "
            f"{self.device} ({self.threads} threads), {self.workers or 'no'} reading processes; turns of {TURN} alternate\n"
            f"{'':34}{'images/s':>10}  per tokenised image\n"
            f"{reading:34}{self.read:>10,.0f}  {self.read / self.tokenise:.2f}x\n"
            f"{'tokenising images':34}{self.tokenise:>10,.0f}  1.00x\n"
            f"memory: at most {self.memory_at_tenth:,.0f} MB in the first tenth, "
            f"{self.memory_at_end:,.0f} MB in all, {growth:+.1%}"
        )


def measure(
    dataset: PairDataset,
    tokenizer: ImageTokenizer,
    name: str,
    n: int,
    *,
    split: str = "train",
    workers: int = 0,
    cache: Path | None = None,
) -> DataSpeed:
    """Reads and tokenises `n` pairs in turns, so that whatever else the machine does weighs on both alike.
    A split of fewer pairs is gone through again. Reading is what training needs of a pair: `pair()` and its pixels in the
    tokenizer's size. Nothing that was read is kept in memory.
    `name`: of the tokenizer, for the table.
    `workers`: processes that read, and that pack; 0 does both in this one.
    `cache`: a folder for pictures, packed before the measurement as far as they are missing.
    Raises UserError: the split is empty."""
    size, side = dataset.size(split), tokenizer.resolution
    if size == 0:
        raise UserError(f"data set '{dataset.name}' has no pairs in split '{split}'")
    source = dataset if cache is None else cache_pictures(dataset, split, cache, n, workers)
    reading, tokenising = Clock(), Clock()
    done, memory, memory_at_tenth = 0, 0.0, 0.0
    with (
        _reader(source, split, side, 0 if cache else workers) as read,
        tqdm(total=n, desc="read and tokenise", unit="pair") as bar,
    ):
        for batch in read(range(1)):  # what the first call costs is no part of the rate
            tokenizer.encode_images(batch.images())
        for rows in turns(n, size):
            with reading.running(len(rows)):
                batches = read(rows)
            with tokenising.running(len(rows)):
                for batch in batches:
                    tokenizer.encode_images(batch.images())
                if tokenizer.device.type == "cuda":
                    torch.cuda.synchronize(tokenizer.device)
            done += len(rows)
            bar.update(len(rows))
            memory = max(memory, resident_memory())
            if not memory_at_tenth and done >= n / 10:
                memory_at_tenth = memory
    return DataSpeed(
        data=dataset.name,
        data_fingerprint=dataset.fingerprint,
        split=split,
        pairs=n,
        rounds=n / size,
        resolution=side,
        tokenizer=name,
        device=str(tokenizer.device),
        threads=torch.get_num_threads(),
        workers=workers,
        cached=cache is not None,
        read=reading.rate,
        tokenise=tokenising.rate,
        memory_at_tenth=memory_at_tenth,
        memory_at_end=memory,
    )


def turns(n: int, size: int) -> Iterator[range]:
    """Rows of each turn: `n` in all, around and around a split of `size`."""
    left, start = n, 0
    while left:
        count = min(TURN, left, size - start)
        yield range(start, start + count)
        left, start = left - count, (start + count) % size


@contextmanager
def _reader(dataset: PairDataset, split: str, side: int, workers: int) -> Iterator[Callable[[range], list[Batch]]]:
    """A function that reads rows as batches and returns when all are there, so that nothing runs on beside the tokenizer."""
    if not workers:
        yield lambda rows: [read_batch(dataset, split, piece, side) for piece in cut(rows, BATCH)]
        return
    with worker_pool(dataset, split, side, workers) as pool:
        yield lambda rows: list(pool(cut(rows, BATCH)))


def resident_memory() -> float:
    """Resident memory of this process in MB; where the system does not say, its peak so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
