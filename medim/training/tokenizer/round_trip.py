"""What an image loses on its way to tokens and back: the ceiling of every model on these tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from medim.common.errors import UserError
from medim.data.dataset import Checker, PairDataset
from medim.data.tokens.read_ahead import pixels
from medim.imaging.images import to_tensor
from medim.pair import ImageReportPair
from medim.perception.efficientnet import EfficientNetLite0Features
from medim.perception.space import FeatureSpace
from medim.tokenizers.image import ImageTokenizer
from medim.training.tokenizer.codebook import usage_of
from medim.training.tokenizer.steps import psnr

SSIM_WINDOW = 11  # pixels of the Gaussian window (Wang et al. 2004)


def report(
    tokenizer: ImageTokenizer,
    dataset: PairDataset,
    split: str = "val",
    limit: int | None = 512,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Measures the round trip image -> tokens -> 8-bit image, over all images and by domain.

    Args:
        limit: images; where the split has more, a seeded choice (see `chosen`).

    Returns:
        A JSON-able dict: `data`, `split`, `tokenizer` (its fingerprint), `codes`, `features` (name and fingerprint of the
        feature space, and whether this tokenizer was trained on it), `checker` (name and fingerprint), `missing` (figure ->
        why it could not be measured), `all` and `domains` (domain -> figures). The figures of a group of images:

        * `images`; `l1`, mean absolute error of values in [-1, 1]; `psnr`, mean over images of 10 log10(1 / MSE) with values
          in [0, 1], dB; `ssim`, mean structural similarity (Wang et al. 2004);
        * `feature_distance`, mean Euclidean distance between the features of an image and of its round trip;
          `feature_distance_of_strangers`, the same to the next image of the group, which tells what is far;
        * `finding_f1`, macro F1 of the findings that the data set's image checker reads from the round trips, against the
          pairs' own findings, over the findings that occur; `finding_f1_real`, from the real images; `finding_f1_by_label`,
          label -> [real, round trip];
        * `codes_used`, share of the codebook that occurs; `perplexity` of the code frequencies.

        A figure that does not exist for a group is None.

    Raises UserError: the split is empty, or an image cannot be read.
    """
    missing: dict[str, str] = {}
    similarity = _similarity(tokenizer.resolution, missing)
    space = _features(tokenizer, missing)
    checker = _checker(dataset, missing)
    labels = () if checker is None else checker.labels
    indices = chosen(dataset, split, limit, seed)
    tokenizer.model.eval()
    rows: list[_Row] = []
    with tqdm(total=len(indices), desc="round trips", unit="image", disable=not progress) as bar:
        for part in np.array_split(indices, -(-len(indices) // tokenizer.batch_size)):
            rows += _measured([dataset.pair(split, int(index)) for index in part], tokenizer, similarity, space, checker)
            bar.update(len(part))
    domains = sorted({row.domain for row in rows})
    return {
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "terms": dataset.terms},
        "split": split,
        "tokenizer": tokenizer.fingerprint,
        "codes": tokenizer.codes,
        "features": None if space is None else _named(space) | {"trained_on": _trained_on_features(tokenizer)},
        "checker": None if checker is None else _named(checker),
        "missing": missing,
        "all": _figures(rows, tokenizer.codes, labels),
        "domains": {name: _figures([row for row in rows if row.domain == name], tokenizer.codes, labels) for name in domains},
    }


def chosen(dataset: PairDataset, split: str, limit: int | None, seed: int) -> np.ndarray:
    """Indices of a split, ascending; where it has more than `limit`, a seeded choice without replacement.
    Raises UserError: the split is empty."""
    size = dataset.size(split)
    if size == 0:
        raise UserError(f"data set '{dataset.name}' has no pairs in split '{split}'")
    if limit is None or size <= limit:
        return np.arange(size)
    return np.sort(np.random.default_rng([seed, size]).choice(size, limit, replace=False))


@torch.no_grad()
def evaluate(tokenizer: ImageTokenizer, cache: Tensor, batch_size: int = 64) -> dict[str, float]:
    """Round trip of images (N, H, W, 3) uint8, not rounded to grey levels: the cheap figures, for a training's log.

    Returns:
        l1: mean absolute error, images in [-1, 1]; psnr: mean over images of 10 log10(1 / MSE), images in [0, 1], dB;
        codes_used: share of the codebook that occurs; perplexity: of the code frequencies; codebook_norm: mean length of
        a codebook vector.
    """
    tokenizer.model.eval()
    errors, decibels, counts = [], [], torch.zeros(tokenizer.codes)
    for batch in cache.split(min(batch_size, tokenizer.batch_size)):
        images = batch.permute(0, 3, 1, 2).contiguous().float().div(127.5).sub(1)
        tokens = tokenizer.encode(images)
        decoded = tokenizer.decode(tokens).cpu()
        counts += torch.bincount(tokens.flatten().cpu(), minlength=tokenizer.codes)
        errors.append((images - decoded).abs().mean((1, 2, 3)))
        decibels.append(psnr(images, decoded))
    used, perplexity = usage_of(counts)
    return {
        "l1": float(torch.cat(errors).mean()),
        "psnr": float(torch.cat(decibels).mean()),
        "codes_used": used,
        "perplexity": perplexity,
        "codebook_norm": float(tokenizer.codebook.norm(dim=1).mean()),
    }


def finding_f1(truth: Sequence[frozenset[str]], read: Sequence[frozenset[str]], labels: Sequence[str]) -> dict[str, float]:
    """F1 = 2 TP / (2 TP + FP + FN) of each label that `truth` shows at least once; their plain mean is the macro F1."""
    scores = {}
    for label in labels:
        is_there, seen = np.array([label in t for t in truth]), np.array([label in r for r in read])
        if is_there.any():
            scores[label] = float(2 * (is_there & seen).sum() / (is_there.sum() + seen.sum()))
    return scores


@dataclass(frozen=True)
class _Row:
    """What is measured of one image; in a couple, of the real one and of its round trip."""

    domain: str
    tokens: Tensor  # (length,)
    l1: float
    psnr: float
    ssim: float | None
    features: tuple[Tensor, Tensor] | None  # (D,) each
    truth: frozenset[str] | None
    read: tuple[frozenset[str], frozenset[str]] | None


@torch.no_grad()
def _measured(
    pairs: Sequence[ImageReportPair],
    tokenizer: ImageTokenizer,
    similarity: Callable[[Tensor, Tensor], Tensor] | None,
    space: FeatureSpace | None,
    checker: Checker | None,
) -> list[_Row]:
    """Takes the images of the pairs through the tokenizer and measures them."""
    real = [pixels(pair, tokenizer.resolution) for pair in pairs]
    tokens = tokenizer.encode_images(real)
    rebuilt = tokenizer.decode_images(tokens)
    before, after = to_tensor(real), to_tensor(rebuilt)
    l1, decibels = (before - after).abs().mean((1, 2, 3)).tolist(), psnr(before, after).tolist()
    nothing: list[Any] = [None] * len(pairs)
    ssim = nothing if similarity is None else similarity(after, before).tolist()
    features = read = nothing
    if space is not None:
        features = list(zip(*(space.features(side.to(tokenizer.device)).cpu() for side in (before, after)), strict=True))
    if checker is not None:
        read = list(zip(checker(real), checker(rebuilt), strict=True))
    truth = [None if pair.findings is None else frozenset(pair.findings) for pair in pairs]
    domains = [pair.domain or "unknown" for pair in pairs]
    return [_Row(*row) for row in zip(domains, tokens, l1, decibels, ssim, features, truth, read, strict=True)]


def _figures(rows: Sequence[_Row], codes: int, labels: Sequence[str]) -> dict[str, Any]:
    """The figures of a group of images; see `report`."""
    used, perplexity = usage_of(torch.bincount(torch.cat([row.tokens for row in rows]), minlength=codes))
    own = strangers = None
    if rows[0].features is not None:
        real, rebuilt = (torch.stack([row.features[side] for row in rows if row.features]) for side in (0, 1))
        own = float((real - rebuilt).norm(dim=1).mean())
        strangers = float((real - real.roll(1, 0)).norm(dim=1).mean()) if len(rows) > 1 else None
    known = [(row.truth, row.read) for row in rows if row.truth is not None and row.read is not None]
    scores, after = (finding_f1([truth for truth, _ in known], [read[side] for _, read in known], labels) for side in (0, 1))
    return {
        "images": len(rows),
        "l1": float(np.mean([row.l1 for row in rows])),
        "psnr": float(np.mean([row.psnr for row in rows])),
        "ssim": None if rows[0].ssim is None else float(np.mean([row.ssim for row in rows])),
        "feature_distance": own,
        "feature_distance_of_strangers": strangers,
        "finding_f1": float(np.mean(list(after.values()))) if scores else None,
        "finding_f1_real": float(np.mean(list(scores.values()))) if scores else None,
        "finding_f1_by_label": {label: [scores[label], after[label]] for label in scores} if scores else None,
        "codes_used": used,
        "perplexity": perplexity,
    }


def _named(thing: FeatureSpace | Checker) -> dict[str, Any]:
    return {"name": thing.name, "fingerprint": thing.fingerprint}


def _similarity(side: int, missing: dict[str, str]) -> Callable[[Tensor, Tensor], Tensor] | None:
    """SSIM per image (B,) of images (B, 3, side, side) in [-1, 1]; where it cannot be had, `missing` tells why."""
    if side < SSIM_WINDOW:
        missing["ssim"] = f"images of {side} pixels are smaller than its window of {SSIM_WINDOW}"
        return None
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim
    except ImportError as error:
        missing["ssim"] = f"it needs the package '{error.name}': pip install 'medim-bench[scoring]'"
        return None
    edge = SSIM_WINDOW // 2

    def similarity(output: Tensor, target: Tensor) -> Tensor:
        # Luminance is a ratio of means, so black must be 0; and only whole windows count, none over a mirrored edge.
        sides = (side.add(1).div(2) for side in (output, target))
        _, local = ssim(*sides, kernel_size=SSIM_WINDOW, data_range=1.0, reduction="none", return_full_image=True)
        return local[..., edge:-edge, edge:-edge].mean((1, 2, 3))

    return similarity


def _features(tokenizer: ImageTokenizer, missing: dict[str, str]) -> FeatureSpace | None:
    try:
        return EfficientNetLite0Features().to(tokenizer.device)
    except UserError as error:
        missing["feature_distance"] = str(error)
        return None


def _trained_on_features(tokenizer: ImageTokenizer) -> bool:
    """Whether the perceptual loss, whose network is the feature space, was part of the training."""
    return tokenizer.training.get("recipe", {}).get("perceptual_weight", 0) > 0


def _checker(dataset: PairDataset, missing: dict[str, str]) -> Checker | None:
    try:
        checker = dataset.image_checker()
    except UserError as error:  # its weights are not there
        missing["finding_f1"] = str(error)
        return None
    if checker is None:
        missing["finding_f1"] = f"nothing reads findings from the images of '{dataset.name}'"
    return checker
