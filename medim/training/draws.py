"""Training draw k of a run: which sample, a function of (seed, k) alone, and its noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import Dataset

from medim.canvas import Layout
from medim.common.errors import UserError
from medim.common.streams import stream
from medim.data.dataset import PairDataset
from medim.data.sources.selection import MixedDataset
from medim.data.tokens.ahead import TokensAhead
from medim.data.tokens.cache import TokenSplit
from medim.diffusion.schedule import schedule_named
from medim.training.corruption import corrupt
from medim.training.recipe import ModelRecipe


def sample_at(seed: int, k: int, samples: int) -> int:
    """Index of the sample at draw k: a fresh permutation of all samples each epoch."""
    epoch, position = divmod(k, samples)
    return int(_permutation(seed, epoch, samples)[position])


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, samples: int) -> np.ndarray:
    return stream(seed, 0, epoch).permutation(samples)


def part_at(k: int, weights: Sequence[Fraction]) -> tuple[int, int]:
    """The part that draw k takes, and how many of the draws before k took the same part. Low-discrepancy: of the first k draws
    of two parts, round(k w_i / sum w) took part i; with more parts, each is set against all that follow it in this way. Integer
    arithmetic, exact for any k. `weights`: above 0, one for each part."""
    rest = sum(weights, Fraction(0))
    for part, weight in enumerate(weights[:-1]):
        before, after = _rounded(k * weight / rest), _rounded((k + 1) * weight / rest)
        if after > before:
            return part, before
        k, rest = k - before, rest - weight
    return len(weights) - 1, k


def _rounded(value: Fraction) -> int:
    """To the nearest integer, halves up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


@dataclass(frozen=True)
class WeightedRows:
    """Rows of a training split of several parts; each part is traversed in a fresh permutation an epoch."""

    parts: tuple[np.ndarray, ...]  # rows of each part, shape (n_i,) with n_i > 0
    weights: tuple[Fraction, ...]  # share of the draws of each part, relative to the others
    seed: int

    def row(self, k: int) -> int:
        part, number = part_at(k, self.weights)
        rows = self.parts[part]
        epoch, position = divmod(number, len(rows))
        return int(rows[_part_permutation(self.seed, part, epoch, len(rows))[position]])


@lru_cache(maxsize=32)
def _part_permutation(seed: int, part: int, epoch: int, samples: int) -> np.ndarray:
    return stream(seed, 4, part, epoch).permutation(samples)


def weighted_rows(dataset: PairDataset, count: int, seed: int) -> WeightedRows | None:
    """How the first `count` training pairs of a mixture are drawn; None where `dataset` is no mixture. A part without a
    training split takes no draws. Raises UserError: `count` leaves nothing of a part that has training pairs."""
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


class Draws(Dataset):
    """Training draws k = 0, 1, 2, ... of the whole run. `draws`: in the whole run. `rows`: which row draw k takes where data
    sets are mixed by weight; None traverses all rows, epoch by epoch."""

    def __init__(
        self, split: TokenSplit | TokensAhead, layout: Layout, recipe: ModelRecipe, draws: int, rows: WeightedRows | None = None
    ) -> None:
        self.split, self.layout, self.recipe, self.draws, self.rows = split, layout, recipe, draws, rows

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        layout, recipe = self.layout, self.recipe
        row = sample_at(recipe.seed, k, len(self.split)) if self.rows is None else self.rows.row(k)
        image, report, prompt = self.split.row(row)
        tokens = layout.join(image, report)[0]
        if recipe.objective == "autoregressive":  # one draw in two has the report first
            noised = torch.zeros(layout.length, dtype=torch.bool)
            noised[layout.image] = noised[layout.report] = True
            first = torch.tensor(bool(stream(recipe.seed, 4, k).integers(2)))
            return {"tokens": tokens, "noisy": tokens, "t": torch.zeros(2), "noised": noised, "report_first": first}
        schedule = schedule_named(recipe.schedule)
        drawn = corrupt(tokens, prompt, layout, recipe.mixture, recipe.seed, k, schedule, recipe.transition)
        return {"tokens": tokens, **vars(drawn)}


def rows_needed(count: int, draws: int, seed: int, rows: WeightedRows | None = None) -> np.ndarray:
    """Rows of a training split in the order in which draws first take them. `count`: rows of the split. `draws`: in the whole
    run; where there are more of them than rows, every row is needed. `rows`: as of `Draws`."""
    first = range(min(draws, count))
    drawn = np.array([sample_at(seed, k, count) if rows is None else rows.row(k) for k in first])
    order = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    if draws <= count:
        return order
    return np.concatenate([order, np.setdiff1d(np.arange(count), order)])
