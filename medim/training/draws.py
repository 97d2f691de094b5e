"""What training draw k is: which sample, and which noise."""

import numpy as np
import torch
from torch.utils.data import Dataset

from medim.canvas import Layout
from medim.common.streams import stream
from medim.data.tokens.ahead import TokensAhead
from medim.data.tokens.cache import TokenSplit
from medim.diffusion.schedule import schedule_named
from medim.training.corruption import Mixture, corrupt, sample_at
from medim.training.mixture import WeightedRows
from medim.training.recipe import ModelRecipe


class Draws(Dataset):
    """Training draw k = 0, 1, 2, ... of the whole run: position in the data and noise follow from k alone.

    Args:
        draws: in the whole run.
        rows: which row draw k takes where data sets are mixed by weight; None goes through all rows, epoch by epoch.
    """

    def __init__(
        self, split: TokenSplit | TokensAhead, layout: Layout, recipe: ModelRecipe, draws: int, rows: WeightedRows | None = None
    ) -> None:
        self.split, self.layout, self.draws, self.rows, self.seed = split, layout, draws, rows, recipe.seed
        self.mixture, self.schedule, self.process = Mixture(recipe.mixture), schedule_named(recipe.schedule), recipe.transition
        self.autoregressive = recipe.objective == "autoregressive"

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        row = sample_at(self.seed, k, len(self.split)) if self.rows is None else self.rows.row(k)
        image, report, prompt = self.split.row(row)
        tokens = self.layout.join(image, report)[0]
        if self.autoregressive:  # every token is told from those before it, one draw in two with the report first
            noised = torch.zeros(self.layout.length, dtype=torch.bool)
            noised[self.layout.image] = noised[self.layout.report] = True
            first = torch.tensor(bool(stream(self.seed, 4, k).integers(2)))
            return {"tokens": tokens, "noisy": tokens, "t": torch.zeros(2), "noised": noised, "report_first": first}
        drawn = corrupt(tokens, prompt, self.layout, self.mixture, self.seed, k, self.schedule, self.process)
        return {"tokens": tokens, **vars(drawn)}


def rows_in_need(count: int, draws: int, seed: int, rows: WeightedRows | None = None) -> np.ndarray:
    """Rows of a training split in the order in which a training's draws come to them first.

    Args:
        count: rows of the split.
        draws: in the whole run; where there are more of them than rows, every row is in need.
        rows: as of `Draws`.
    """
    first = range(min(draws, count))
    drawn = np.array([sample_at(seed, k, count) if rows is None else rows.row(k) for k in first])
    order = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    if draws <= count:
        return order
    return np.concatenate([order, np.setdiff1d(np.arange(count), order)])
