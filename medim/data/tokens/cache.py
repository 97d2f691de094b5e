"""A split as tokens: each image is encoded once, however long the training."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import PairDataset
from medim.data.tokens.read_ahead import Batch, cut, read_batches
from medim.data.tokens.store import PART, Column, TokenStore
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer

BATCH = 64  # images that are encoded at once
BACK_OFF = (1, 3, 10, 30, 100, 300, 1000)
SMOOTHING = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
COLUMNS = ("image", "report", "prompt", "text_bytes", "truncated")


@dataclass(frozen=True)
class TokenSplit:
    """Tokens of one split, in its order. Each column is a tensor, or a `Column` of files: both give int64 by row or slice."""

    image: torch.Tensor | Column  # codes, shape (n, image_length)
    report: torch.Tensor | Column  # ids with EOS and padding, shape (n, report_length)
    # prompt, text_bytes: tokens of each report's first sentence, and its UTF-8 bytes, shape (n,)
    prompt: torch.Tensor | Column
    text_bytes: torch.Tensor | Column
    truncated: torch.Tensor | Column  # 1 where the report did not fit the canvas, shape (n,)

    def __len__(self) -> int:
        return len(self.image)

    def row(self, row: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Codes (1, image_length), ids (1, report_length) and prompt of one pair."""
        return self.image[row : row + 1], self.report[row : row + 1], int(self.prompt[row])

    def chunks(self, rows: int = 65536) -> Iterator["TokenSplit"]:
        """The split in pieces that are held in memory, at most `rows` long."""
        for start in range(0, len(self), rows):
            yield TokenSplit(**{name: column[start : start + rows] for name, column in vars(self).items()})


def first_sentence(report: str) -> str:
    """Up to and including the first full stop: what the paper calls the prompt."""
    head, stop, _ = report.partition(".")
    return head + stop


def tokenise_split(
    dataset: PairDataset,
    split: str,
    images: ImageTokenizer,
    reports: ReportTokenizer,
    cache: Path | None = None,
    limit: int | None = None,
    batch: int = BATCH,
    workers: int = 0,
) -> TokenSplit:
    """Tokens of a split, stored in `cache` under the hashes of the data and of both tokenizers.
    The cache is written in parts of `PART` pairs: a killed call is continued by the next, and a larger `limit` adds parts.
    Reading maps the files into memory.
    `cache`: a folder for `tokens-<hash>/`; where None, the tokens stay in memory.
    `batch`: images that are encoded at once.
    `workers`: processes that read pairs while images are encoded; 0 uses a thread (see `read_batches`).
    Raises UserError: the split is empty, a pair has no report, or an image cannot be read."""
    count = rows_of(dataset, split, limit)
    store = None if cache is None else open_store(cache, dataset, split, images, reports)
    files = [] if store is None else store.files()
    have = np.zeros(count, bool)
    for rows, _ in files:
        have[rows[rows < count]] = True
    missing = [part for start in range(0, count, PART) if len(part := start + np.flatnonzero(~have[start : start + PART]))]
    for rows, columns in tokenise(dataset, split, missing, images, reports, batch, workers, total=count):
        if store is None:
            files.append((rows, columns))
        else:
            store.write(rows, columns)
    return assembled(files if store is None else store.files(), np.arange(count))


def rows_of(dataset: PairDataset, split: str, limit: int | None) -> int:
    """Number of the first `limit` pairs of a split. Raises UserError: there are none."""
    count = min(dataset.size(split), limit) if limit is not None else dataset.size(split)
    if count == 0:
        raise UserError(f"data set '{dataset.name}' has no pairs in split '{split}'")
    return count


def assembled(files: Sequence[tuple[np.ndarray, dict[str, np.ndarray]]], wanted: np.ndarray) -> TokenSplit:
    """The tokens of `wanted` rows, which grow and which the files hold, in their order."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    chosen, missing = [], np.zeros(int(wanted[-1]) + 1, bool)
    missing[wanted] = True
    for rows, columns in files:
        fresh = rows < len(missing)
        fresh[fresh] = missing[rows[fresh]]
        if not fresh.any():
            continue
        missing[rows[fresh]] = False
        chosen.append(rows[fresh])
        for name in COLUMNS:
            parts[name].append(columns[name] if fresh.all() else columns[name][fresh])
    return TokenSplit(**{name: Column(parts[name], chosen) for name in COLUMNS})


def tokenise(
    dataset: PairDataset,
    split: str,
    parts: Sequence[np.ndarray],
    images: ImageTokenizer,
    reports: ReportTokenizer,
    batch: int = BATCH,
    workers: int = 0,
    total: int | None = None,
    show: bool = True,
) -> Generator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """The columns of each of `parts`, rows that grow; the pairs of the next are read meanwhile. `total`: end of the progress
    bar; all of the parts where None. `show`: whether there is a bar."""
    pieces = [cut(rows, batch) for rows in parts]
    flat: list[Sequence[int]] = [piece for of_part in pieces for piece in of_part]  # type: ignore[misc]  # arrays are read alike
    batches = read_batches(dataset, split, flat, images.resolution, workers)
    left = sum(map(len, parts))
    total = left if total is None else total
    bar = tqdm(desc=f"tokenise {split}", total=total, initial=total - left, unit="pair", disable=not parts or not show)
    with closing(batches), bar:
        for rows, of_part in zip(parts, pieces, strict=True):
            yield rows, _tokenised(dataset.name, islice(batches, len(of_part)), images, reports, bar)


def open_store(cache: Path, dataset: PairDataset, split: str, images: ImageTokenizer, reports: ReportTokenizer) -> TokenStore:
    """The folder of a split's tokens: its name is the hash of all that the tokens follow from."""
    content = {
        "data_fingerprint": dataset.fingerprint,
        "split": split,
        "image_tokenizer": images.fingerprint,
        "report_tokenizer": reports.fingerprint,
        "report_length": reports.report_length,
    }
    origin = {"data": dataset.name, "terms": dataset.terms, "synthetic": dataset.synthetic}
    return TokenStore(cache / f"tokens-{hash_of(content)}", {**content, **origin})


def _tokenised(
    name: str, batches: Iterable[Batch], images: ImageTokenizer, reports: ReportTokenizer, bar: tqdm
) -> dict[str, np.ndarray]:
    """The columns of some batches, in the smallest types that hold them."""
    codes: list[torch.Tensor] = []
    texts: list[str] = []
    for read in batches:
        for report, pair in zip(read.reports, read.ids, strict=True):
            if report is None:
                raise UserError(f"pair '{pair}' of data set '{name}' has no report; a model is trained on pairs")
            texts.append(report)
        codes.append(images.encode_images(read.images()))
        bar.update(len(read))
    return {
        "image": torch.cat(codes).numpy().astype(np.uint16 if images.codes <= 1 << 16 else np.int32),
        "report": reports.encode(texts).numpy().astype(np.int32),
        "prompt": np.array([len(reports.ids(first_sentence(text))) for text in texts], np.int32),
        "text_bytes": np.array([len(text.encode()) for text in texts], np.int32),
        "truncated": np.array([not reports.fits(text) for text in texts], np.uint8),
    }


def unigram_nats(train: TokenSplit, heldout: TokenSplit, reports: ReportTokenizer) -> float:
    """Per-position unigram code of the reports, in nats per real token + EOS: the baseline of a report model.

    A token at position i costs -log p_i, p_i = (c_i + k q) / (n + k): its count among the n training reports at that
    position, backed off to q, its smoothed frequency at all positions (a proper distribution over all ids). Padding is
    coded too. k and the smoothing are those of `BACK_OFF` and `SMOOTHING` that suit the held-out reports best, in favour of
    the baseline.
    """
    coded = heldout.report[:]  # (n held out, N)
    total, _ = unigram_costs((chunk.report[:].numpy() for chunk in train.chunks()), coded.numpy(), reports.size)
    return total / float(reports.lengths(coded).sum())


def unigram_costs(train: Iterable[np.ndarray], heldout: np.ndarray, size: int) -> tuple[float, np.ndarray]:
    """Nats of held-out reports (n held out, N) in the code of `unigram_nats`: of all of them, and of each, (n held out,).
    `train`: blocks of reports as ids with end and padding, (n, N) each. `size`: V, number of ids."""
    positions = heldout.shape[1]
    counts = np.zeros((positions, size), np.int64)  # (N, V)
    reports = 0
    for block in train:
        reports += len(block)
        for position, column in enumerate(block.T):
            counts[position] += np.bincount(column, minlength=size)
    everywhere = counts.sum(axis=0).astype(float)
    seen = np.take_along_axis(counts, heldout.T, axis=1)  # (N, n held out)
    best, each = np.inf, np.zeros(len(heldout))
    for smoothing in SMOOTHING:
        prior = ((everywhere + smoothing) / (everywhere.sum() + smoothing * size))[heldout.T]
        for k in BACK_OFF:
            costs = -np.log((seen + k * prior) / (reports + k))
            if costs.sum() < best:
                best, each = float(costs.sum()), costs.sum(axis=0)
    return best, each
