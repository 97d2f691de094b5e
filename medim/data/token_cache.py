"""A split as tokens: each image is encoded once, however long the training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from medim.data.dataset import PairDataset
from medim.data.images import read_image, square
from medim.errors import UserError
from medim.files import atomic_path, hash_of
from medim.pair import ImageReportPair
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer

BACK_OFF = (1, 3, 10, 30, 100, 300, 1000)
SMOOTHING = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class TokenSplit:
    """Tokens of one split, in its order.

    Attributes:
        image: codes, shape (n, image_length).
        report: ids with EOS and padding, shape (n, report_length).
        prompt: tokens of the report's first sentence, shape (n,).
        text_bytes: UTF-8 bytes of each report, shape (n,).
        truncated: 1 where the report did not fit the canvas, shape (n,).
    """

    image: torch.Tensor
    report: torch.Tensor
    prompt: torch.Tensor
    text_bytes: torch.Tensor
    truncated: torch.Tensor

    def __len__(self) -> int:
        return len(self.image)


def pixels(pair: ImageReportPair, side: int):
    """The pair's image in the one declared geometry."""
    image = read_image(pair.image) if isinstance(pair.image, Path) else pair.image
    return image if image.size == (side, side) and image.mode == "RGB" else square(image, side)


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
    batch: int = 64,
) -> TokenSplit:
    """Tokens of a split, kept in `cache` under the hashes of the data and of both tokenizers.

    Raises:
        UserError: the split is empty, or a pair has no report.
    """
    count = min(dataset.size(split), limit) if limit is not None else dataset.size(split)
    if count == 0:
        raise UserError(f"data set '{dataset.name}' has no pairs in split '{split}'")
    key = hash_of([dataset.fingerprint, split, count, images.fingerprint, reports.fingerprint, reports.report_length])
    stored = cache / f"tokens-{key}.safetensors" if cache is not None else None
    if stored is not None and stored.exists():
        return TokenSplit(**{name: tensor.long() for name, tensor in load_file(stored).items()})
    texts: list[str] = []
    codes: list[torch.Tensor] = []
    waiting = []
    for index in tqdm(range(count), desc=f"tokenise {split}", unit="pair"):
        pair = dataset.pair(split, index)
        if pair.report is None:
            raise UserError(f"pair '{pair.id}' of data set '{dataset.name}' has no report; a model is trained on pairs")
        texts.append(pair.report)
        waiting.append(pixels(pair, images.resolution))
        if len(waiting) == batch or index == count - 1:
            codes.append(images.encode_images(waiting))
            waiting = []
    tokens = TokenSplit(
        image=torch.cat(codes),
        report=reports.encode(texts),
        prompt=torch.tensor([len(reports.ids(first_sentence(text))) for text in texts]),
        text_bytes=torch.tensor([len(text.encode()) for text in texts]),
        truncated=torch.tensor([not reports.fits(text) for text in texts]).long(),
    )
    if stored is not None:
        with atomic_path(stored) as temporary:
            save_file({name: tensor.to(torch.int32) for name, tensor in vars(tokens).items()}, temporary)
    return tokens


def unigram_nats(train: TokenSplit, heldout: TokenSplit, reports: ReportTokenizer) -> float:
    """Per-position unigram code of the reports, in nats per real token + EOS: the line that a report model must beat.

    A token at position i costs -log p_i, p_i = (c_i + k q) / (n + k): its count among the n training reports at that
    position, backed off to q, its smoothed frequency at all positions (a proper distribution over all ids). Padding is
    coded too. k and the smoothing are those of `BACK_OFF` and `SMOOTHING` that suit the held-out reports best: the code is
    given the benefit of the doubt.
    """
    everywhere = np.bincount(train.report.flatten().numpy(), minlength=reports.size).astype(float)
    counts = np.stack([np.bincount(column, minlength=reports.size) for column in train.report.T.numpy()])  # (N, V)
    seen = np.take_along_axis(counts, heldout.report.T.numpy(), axis=1)  # (N, n held out)
    costs = []
    for smoothing in SMOOTHING:
        q = (everywhere + smoothing) / (everywhere.sum() + smoothing * reports.size)
        prior = q[heldout.report.T.numpy()]
        costs += [-np.log((seen + k * prior) / (len(train) + k)).sum() for k in BACK_OFF]
    return float(min(costs)) / float(reports.lengths(heldout.report).sum())
