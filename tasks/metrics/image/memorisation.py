"""Whether images were copied from a training set: nearest neighbours, held to what images nobody trained on have.

    d(x)       = min over o in {as it is, mirrored}, y in training   || phi(o x) - phi(y) ||
    threshold  = the k-th smallest d of H held-out images,  k = max(1, floor(alpha (H + 1)))
    flagged    : d(x) < threshold;  of unseen images a share of k / (H + 1) is (exchangeable with the held-out ones)

phi is the network of a feature space, or for `pixels` the image itself: 32 x 32 grey levels, mean 0, norm 1, so that || . || is
sqrt(2 - 2 r) of their correlation r and neither brightness nor contrast matters.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

SIDE = 32
ALPHA = 0.01
_QUERIES = 4096  # compared with one block of training rows at once
_TINY = np.finfo(np.float32).tiny


def thumbnails(images: Sequence[Image.Image]) -> np.ndarray:
    """Grey levels of images averaged down to 32 x 32: uint8 (N, 1024)."""
    size = (SIDE, SIDE)
    small = [np.asarray(image.convert("L").resize(size, Image.Resampling.BOX)).ravel() for image in images]
    return np.stack(small) if small else np.zeros((0, SIDE * SIDE), dtype=np.uint8)


def normalised(small: np.ndarray) -> np.ndarray:
    """Thumbnails with mean 0 and norm 1, float32 (N, 1024); one without any contrast is all 0."""
    values = small.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(norms < 1e-3, np.inf, norms)


def correlation(distance: np.ndarray) -> np.ndarray:
    """r of two normalised thumbnails at this distance: 1 - d^2 / 2."""
    return 1 - np.asarray(distance) ** 2 / 2


@dataclass(frozen=True)
class Rows:
    """A block of consecutive training rows from index `start`: values (B, D) float32, patients (B,) as numbers if known."""

    start: int
    values: np.ndarray
    patients: np.ndarray | None = None


@dataclass(frozen=True)
class Nearest:
    """The nearest training row of each of Q queries: distances (Q,) float64 and rows (Q,) int64.
    Infinity and -1 where every row was left out."""

    distances: np.ndarray
    rows: np.ndarray


def nearest(
    queries: np.ndarray, training: Iterable[Rows], *, patients: np.ndarray | None = None, own: np.ndarray | None = None
) -> Nearest:
    """The nearest training row by Euclidean distance, in the memory of one block.
    Candidates are found in float32 by |x|^2 + |y|^2 - 2 x.y, whose rounding hides distances below some 3e-4 |x|; that of each
    block's best is computed again from the difference in float64, so that a copy is at 0 exactly.
    `queries`: (Q, D) float32.
    `patients`: (Q,) rows of the same patient are left out.
    `own`: (Q,) index of the training row that is the query itself; left out."""
    best = np.full(len(queries), np.inf)
    rows = np.full(len(queries), -1, dtype=np.int64)
    squares = np.einsum("qd,qd->q", queries, queries)
    for block in training:
        block_squares = np.einsum("bd,bd->b", block.values, block.values)
        for start in range(0, len(queries), _QUERIES):
            chunk = slice(start, start + _QUERIES)
            table = squares[chunk, None] + block_squares - 2 * (queries[chunk] @ block.values.T)  # (q, B)
            _leave_out(table, block, None if patients is None else patients[chunk], None if own is None else own[chunk])
            place = table.argmin(axis=1)
            there = np.isfinite(table[np.arange(len(table)), place])
            difference = queries[chunk].astype(np.float64) - block.values[place]
            exact = np.where(there, np.sqrt(np.einsum("qd,qd->q", difference, difference)), np.inf)
            closer = exact < best[chunk]
            best[chunk] = np.where(closer, exact, best[chunk])
            rows[chunk] = np.where(closer, block.start + place, rows[chunk])
    return Nearest(best, rows)


def _leave_out(table: np.ndarray, block: Rows, patients: np.ndarray | None, own: np.ndarray | None) -> None:
    if patients is not None:
        if block.patients is None:
            raise ValueError("training rows without patients cannot be told from the query's own")
        shared = np.isin(patients, block.patients)
        table[shared] = np.where(patients[shared, None] == block.patients, np.inf, table[shared])
    if own is not None:
        inside = np.flatnonzero((own >= block.start) & (own < block.start + len(block.values)))
        table[inside, own[inside] - block.start] = np.inf


def nearest_of_views(views: np.ndarray, search: Callable[[np.ndarray], Nearest]) -> tuple[Nearest, Nearest]:
    """The nearest row of any of the views (Q, O, D) of each image, and that of its first view; `search` takes (Q * O, D)."""
    count, turns, width = views.shape
    found = search(views.reshape(count * turns, width))
    distances, rows = found.distances.reshape(count, turns), found.rows.reshape(count, turns)
    least, each = distances.argmin(axis=1), np.arange(count)
    return Nearest(distances[each, least], rows[each, least]), Nearest(distances[:, 0], rows[:, 0])


@dataclass(frozen=True)
class Threshold:
    """Below which distance an image is flagged."""

    distance: float  # see the head of this file; 0 where held-out images are copies of training images themselves
    # share of unseen images expected below it; above the requested alpha where the H held-out images are too few
    nominal: float
    alpha: float
    held_out: int


def threshold_of(null: np.ndarray, alpha: float) -> Threshold:
    """The threshold from the distances (H,) of held-out images; a ValueError for none, or alpha outside (0, 1)."""
    if not len(null) or not 0 < alpha < 1:
        raise ValueError(f"{len(null)} held-out distances and alpha {alpha} give no threshold")
    rank = max(1, math.floor(alpha * (len(null) + 1)))
    return Threshold(float(np.sort(null)[rank - 1]), rank / (len(null) + 1), alpha, len(null))


def authentic(generated: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Which samples are authentic: bool (N,) (Alaa et al. 2022, arXiv 2102.08921; AuthPct is their share).
    `generated`: (N,) distance of each sample from its nearest training point y.
    `own`: (N,) distance of that y from its nearest other training point."""
    return generated > own


def duplicate_share(small: np.ndarray) -> float:
    """Share of thumbnails (N, 1024) uint8 that equal another one; 0 for none."""
    if not len(small):
        return 0.0
    rows = np.ascontiguousarray(small).view(np.dtype((np.void, small.shape[1]))).ravel()
    _, inverse, counts = np.unique(rows, return_inverse=True, return_counts=True)
    return float((counts[inverse] > 1).mean())


def altered_copies(images: Sequence[Image.Image]) -> list[Image.Image]:
    """Images changed as copies might be, in turns: mirrored, brighter, mirrored and brighter, darker, mirrored and darker."""
    changes: list[tuple[bool, float, float]] = [(True, 1, 0), (False, 1, 20), (True, 1, 20), (False, 0.85, 0), (True, 0.85, 0)]
    altered = []
    for number, image in enumerate(images):
        turned, gain, shift = changes[number % len(changes)]
        values = np.clip(np.rint(np.asarray(image.convert("RGB"), dtype=np.float64) * gain + shift), 0, 255)
        changed = Image.fromarray(values.astype(np.uint8))
        altered.append(mirrored(changed) if turned else changed)
    return altered


def mirrored(image: Image.Image) -> Image.Image:
    """Left and right exchanged."""
    return ImageOps.mirror(image)


def severity(distances: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Nearness to training images: min over S spaces of distance / threshold, (S, N) -> (N,); below 1: flagged."""
    scale = np.maximum(np.asarray(thresholds, dtype=np.float64), _TINY)
    return (distances / scale[:, None]).min(axis=0)


def found_on_top(planted: np.ndarray, others: np.ndarray) -> int:
    """How many of P planted copies are among the P most severe of all, by severities (P,) and (N,); ties favour the planted."""
    order = np.sort(planted)
    before = np.searchsorted(np.sort(others), order) + np.arange(len(order))
    return int((before < len(planted)).sum())
