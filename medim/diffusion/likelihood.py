r"""How many nats a model needs for held-out pairs: the bound under noise that is the same for every model.

The bound is evaluated by the number k of masked tokens among the N that are not given,

    -log p(x) <= E_{k ~ U{1..N}} E_{|M| = k} [ N / k \sum_{i in M} -log p_\theta(x^i | x_{not M}, t) ],

which equals the integral over t of `medim.diffusion.objective` in expectation (Ou et al. 2024, arXiv 2406.03736) and has no
1/t tail. The model is fed the masked fraction of each modality, as in sampling.
"""

from dataclasses import dataclass

import torch

from medim.canvas import MODALITIES, Canvas
from medim.data.token_cache import TokenSplit
from medim.denoiser import MeDiMModel
from medim.diffusion.objective import nelbo
from medim.training.corruption import GOLDEN, stream

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
    layout = model.config.layout
    free = torch.cat([torch.arange(layout.of(m).start, layout.of(m).stop) for m in CONDITIONS[condition]])
    count = min(len(split), limit) if limit is not None else len(split)
    result = torch.zeros(count, 2)
    was_training = model.training
    model.eval()
    for start in range(0, count, batch):
        rows = range(start, min(start + batch, count))
        clean = layout.join(split.image[rows.start : rows.stop], split.report[rows.start : rows.stop])
        for j in range(draws):
            noisy = clean.clone()
            weight = torch.zeros(len(rows), 2)
            for row, i in enumerate(rows):
                k = 1 + int(len(free) * ((i * GOLDEN + j / draws) % 1.0))
                hidden = free[torch.from_numpy(stream(seed, 3, i, j).permutation(len(free))[:k])]
                noisy[row, hidden] = layout.vocabulary.mask
                weight[row] = len(free) / k
            t = Canvas(layout, noisy, torch.zeros_like(noisy, dtype=torch.bool)).masked_fraction()
            moved = [x.to(model.device) for x in (clean, noisy, t)]
            output = model(moved[1], moved[2], moved[1] == layout.vocabulary.mask)
            bound = nelbo(output, moved[0], moved[1], moved[2], layout)
            result[rows.start : rows.stop] += weight * bound.divergence.cpu() / draws
    model.train(was_training)
    return Likelihood(result)
