"""How many nats a model needs for held-out pairs: the bound under noise that is the same for every model."""

from dataclasses import dataclass

import torch

from medim.canvas import MODALITIES
from medim.data.token_cache import TokenSplit
from medim.denoiser import MeDiMModel
from medim.diffusion.objective import nelbo
from medim.diffusion.schedule import SMALLEST_T, LogLinear
from medim.training.corruption import GOLDEN, stream

CONDITIONS = {"joint": (1.0, 1.0), "report|image": (0.0, 1.0), "image|report": (1.0, 0.0)}
"""Factor on t per modality: zero where the modality is given."""


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
    model: MeDiMModel, split: TokenSplit, condition: str, times: int = 8, seed: int = 0, limit: int | None = None, batch: int = 64
) -> Likelihood:
    """The continuous-time bound by stratified times, `times` noise draws for each sample.

    Sample i is noised at t = frac(i * golden ratio + j / times), j = 0 .. times - 1, with noise drawn from (seed, i, j):
    two models are compared under identical noise.

    Args:
        condition: `joint` bounds -log p(image, report) (its two columns add up), `report|image`, `image|report`.
    """
    layout = model.config.layout
    factor = torch.tensor(CONDITIONS[condition])
    count = min(len(split), limit) if limit is not None else len(split)
    result = torch.zeros(count, 2)
    was_training = model.training
    model.eval()
    for start in range(0, count, batch):
        rows = range(start, min(start + batch, count))
        clean = layout.join(split.image[rows.start : rows.stop], split.report[rows.start : rows.stop])
        for j in range(times):
            u = torch.tensor([(i * GOLDEN + j / times) % 1.0 for i in rows])
            t = (SMALLEST_T + (1 - SMALLEST_T) * u)[:, None] * factor
            noise = torch.stack([torch.from_numpy(stream(seed, 3, i, j).random(layout.length)) for i in rows])
            noisy = clean.clone()
            for column, modality in enumerate(MODALITIES):
                where = layout.of(modality)
                hidden = noise[:, where] < (1 - LogLinear().alpha(t[:, column : column + 1]))
                noisy[:, where] = torch.where(hidden, layout.vocabulary.mask, clean[:, where])
            moved = [x.to(model.device) for x in (clean, noisy, t)]
            output = model(moved[1], moved[2], moved[1] == layout.vocabulary.mask)
            result[rows.start : rows.stop] += nelbo(output, moved[0], moved[1], moved[2], layout).nats.cpu() / times
    model.train(was_training)
    return Likelihood(result)
