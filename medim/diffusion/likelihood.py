r"""How many nats a model needs for held-out pairs: the bound under noise that is the same for every model.

The bound is evaluated by the number k of masked tokens among the N that are not given,

    -log p(x) <= E_{k ~ U{1..N}} E_{|M| = k} [ N / k \sum_{i in M} -log p_\theta(x^i | x_{not M}, t) ],

which equals the integral over t of `medim.diffusion.objective` in expectation (Ou et al. 2024, arXiv 2406.03736) and has no
1/t tail. The model is fed the masked fraction of each modality, as in sampling. Where noise does not (only) mask, there is no
such number and the integral itself is drawn, under the log-linear schedule.
"""

from dataclasses import dataclass

import torch

from medim.canvas import MODALITIES, Canvas, Layout
from medim.data.token_cache import TokenSplit
from medim.denoiser import MeDiMModel
from medim.diffusion.objective import nelbo
from medim.diffusion.schedule import SMALLEST_T, LogLinear
from medim.diffusion.transition import transition
from medim.streams import GOLDEN, stream

CONDITIONS = {"joint": ("image", "report"), "report|image": ("report",), "image|report": ("image",)}
"""Which modalities are to be told; the others are given."""


@dataclass(frozen=True)
class Likelihood:
    """Upper bounds on -log p, in nats per sequence, one estimate per sample; shape (n, 2) for (image, report)."""

    nats: torch.Tensor

    def mean(self, modality: str) -> float:
        return float(self.nats[:, MODALITIES.index(modality)].mean())

    def standard_error(self, modality: str) -> float:
        column = self.nats[:, MODALITIES.index(modality)]
        return float(column.std() / len(column) ** 0.5)


@torch.no_grad()
def likelihood(
    model: MeDiMModel,
    split: TokenSplit,
    condition: str,
    draws: int = 8,
    seed: int = 0,
    limit: int | None = None,
    batch: int = 64,
) -> Likelihood:
    """The bound of each sample by `draws` stratified numbers of masked tokens.

    Sample i has k = 1 + floor(N frac(i * golden ratio + j / draws)) masked tokens in draw j, chosen by (seed, i, j): two
    models with the same canvas are compared under identical noise.

    Args:
        condition: `joint` bounds -log p(image, report) (its two columns add up), `report|image`, `image|report`.
        limit: the first so many samples; all where None.
    """
    layout, process = model.config.layout, model.config.transition
    free = torch.cat([torch.arange(layout.of(m).start, layout.of(m).stop) for m in CONDITIONS[condition]])
    corrupt = _masked if process == "absorbing" else _noised
    count = min(len(split), limit) if limit is not None else len(split)
    result = torch.zeros(count, 2)
    was_training = model.training
    model.eval()
    for start in range(0, count, batch):
        rows = range(start, min(start + batch, count))
        clean = layout.join(split.image[rows.start : rows.stop], split.report[rows.start : rows.stop])
        for j in range(draws):
            drawn = [
                corrupt(clean[n], free, layout, process, (i * GOLDEN + j / draws) % 1.0, (seed, 3, i, j))
                for n, i in enumerate(rows)
            ]
            noisy, asked, t, weight = (torch.stack(column) for column in zip(*drawn, strict=True))
            clean_, noisy, asked, t = (x.to(model.device) for x in (clean, noisy, asked, t))
            bound = nelbo(model(noisy, t, asked), clean_, noisy, t, layout, asked, process=process)
            result[rows.start : rows.stop] += weight * bound.divergence.cpu() / draws
    model.train(was_training)
    return Likelihood(result)


Noise = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""x_t (L,), where the model is asked (L,), time of each modality (2,), weight of each modality's term (2,)."""


def _masked(clean: torch.Tensor, free: torch.Tensor, layout: Layout, process: str, u: float, key: tuple[int, ...]) -> Noise:
    """1 + floor(N u) of the free positions masked."""
    k = 1 + int(len(free) * u)
    noisy = clean.clone()
    noisy[free[torch.from_numpy(stream(*key).permutation(len(free))[:k])]] = layout.vocabulary.mask
    t = Canvas(layout, noisy[None], torch.zeros(1, layout.length, dtype=torch.bool)).masked_fraction()[0]
    return noisy, noisy == layout.vocabulary.mask, t, torch.full((2,), len(free) / k)


def _noised(clean: torch.Tensor, free: torch.Tensor, layout: Layout, process: str, u: float, key: tuple[int, ...]) -> Noise:
    """The free positions at time u of the process."""
    level = torch.tensor(SMALLEST_T + (1 - SMALLEST_T) * u)
    uniform = torch.from_numpy(stream(*key).random(layout.length))
    noisy, asked, t = clean.clone(), torch.zeros(layout.length, dtype=torch.bool), torch.zeros(2)
    asked[free] = True
    for column, modality in enumerate(MODALITIES):
        where = layout.of(modality)
        if asked[where].any():
            noise = transition(process, layout.size(modality))
            z = noise.corrupt(layout.states(clean[where], modality), 1 - level, uniform[where])
            noisy[where], t[column] = layout.ids(z, modality), level
    return noisy, asked, t, LogLinear().weight(t)
