"""Which sample training draw k takes, where several data sets are mixed by weight: a function of (seed, k) alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from medim.common.errors import UserError
from medim.common.streams import stream
from medim.data.dataset import PairDataset
from medim.data.sources.selection import MixedDataset


def part_at(k: int, weights: Sequence[Fraction]) -> tuple[int, int]:
    """The part that draw k takes, and how many of the draws before k took the same part.

    Low-discrepancy: of the first k draws of two parts, round(k w_i / sum w) took part i; with more parts, each is set
    against all that follow it in this way. Whole numbers throughout, so no draw is lost to rounding however large k is.

    Args:
        k: 0, 1, 2, ...
        weights: above 0, one for each part.
    """
    rest = sum(weights, Fraction(0))
    for part, weight in enumerate(weights[:-1]):
        before, after = _rounded(k * weight / rest), _rounded((k + 1) * weight / rest)
        if after > before:
            return part, before
        k, rest = k - before, rest - weight
    return len(weights) - 1, k


def _rounded(value: Fraction) -> int:
    """To the nearest whole number, halves up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


@dataclass(frozen=True)
class WeightedRows:
    """Rows of a training split that consists of parts; each part is gone through in a fresh permutation an epoch.

    Attributes:
        parts: rows of each part, shape (n_i,) with n_i > 0.
        weights: share of the draws of each part, relative to the others.
        seed: of the permutations.
    """

    parts: tuple[np.ndarray, ...]
    weights: tuple[Fraction, ...]
    seed: int

    def row(self, k: int) -> int:
        """The row of draw k."""
        part, number = part_at(k, self.weights)
        rows = self.parts[part]
        epoch, position = divmod(number, len(rows))
        return int(rows[_permutation(self.seed, part, epoch, len(rows))[position]])


@lru_cache(maxsize=32)
def _permutation(seed: int, part: int, epoch: int, samples: int) -> np.ndarray:
    return stream(seed, 4, part, epoch).permutation(samples)


def weighted_rows(dataset: PairDataset, count: int, seed: int) -> WeightedRows | None:
    """How the first `count` training pairs of a mixture are drawn; None where `dataset` is no mixture.

    A part without a training split (one that is only measured on) takes no draws.

    Raises:
        UserError: `count` leaves nothing of a part that has training pairs.
    """
    if not isinstance(dataset, MixedDataset):
        return None
    part_of = dataset.part_of("train", count)
    rows, weights = [], []
    for number, (part, weight) in enumerate(zip(dataset.parts, dataset.weights, strict=True)):
        found = np.flatnonzero(part_of == number)
        if len(found):
            rows.append(found)
            weights.append(weight)
        elif part.size("train"):
            raise UserError(f"train_limit={count} leaves none of the {part.size('train')} training pairs of '{part.name}'")
    return WeightedRows(tuple(rows), tuple(weights), seed)
