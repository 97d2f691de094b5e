"""The sampler of the code that the authors of MeDiM released, for comparisons on the same weights.

One ranking of both modalities by log p(drawn) + noise t Gumbel; increments that grow as arccos does; guidance
(1 + w) cond - w uncond with w = guidance (1 - t), all given tokens masked in uncond. A row costs a second one only where w > 0
and something is given. Logits are computed at every position over the whole vocabulary. Its mistakes are left out: a position
draws ids of its modality, and no report ends before a given word. A model of one sigma is fed the schedule's time, as there;
others the true masked fractions.
"""

import math
from collections.abc import Sequence

import torch

from medim.canvas import MODALITIES, Canvas
from medim.sampling.ending import Ending
from medim.sampling.forward import Denoiser, Pass, non_finite, refuse_non_finite
from medim.sampling.settings import ReleasedSettings
from medim.sampling.step import draw, fine, gumbel, noise


def increments(total: int, steps: int) -> list[int]:
    """How many of `total` tokens each step reveals, until none is left: at most `steps` numbers, which may be fewer.
    Shares follow arccos(r), r from 1 to 0, and are rounded; a step reveals at least one token, the last one what is left."""
    steps = min(steps, total)
    angles = [math.acos(1 - index / (steps - 1)) for index in range(steps - 1)] if steps > 1 else []
    left, result, whole = total, list[int](), sum(angles) + math.pi / 2
    for angle in angles:
        result.append(min(left, max(1, round(total * angle / whole))))
        left -= result[-1]
    return [count for count in (*result, left) if count]


@torch.no_grad()
def released(
    model: Denoiser, canvas: Canvas, settings: ReleasedSettings, seeds: Sequence[int], ending: Ending | None = None
) -> tuple[Canvas, list[Pass]]:
    """Fills what is vacant in a canvas; returns it and the passes through the model. A finished row costs nothing."""
    layout, device, tokens = canvas.layout, canvas.tokens.device, canvas.tokens.clone()
    totals = canvas.masked.sum(1).tolist()
    due = [increments(total, settings.steps) for total in totals]
    uniform = noise(seeds, max(map(len, due), default=0), layout.length).to(device)
    barred = None if ending is None else ending.barred(canvas)
    hidden = canvas.given & (layout.structure.to(device) == layout.vocabulary.mask)  # what guidance masks
    conditioned = hidden.any(1).tolist()
    passes, flags = list[Pass](), list[torch.Tensor]()
    for index in range(len(uniform)):
        rows = [row for row, counts in enumerate(due) if index < len(counts)]
        done = [index / min(settings.steps, totals[row]) for row in rows]  # 1 - t
        guided = [at for at, row in enumerate(rows) if conditioned[row] and settings.guidance * done[at] > 0]
        here, second = torch.tensor(rows, device=device), torch.tensor(guided, dtype=torch.long, device=device)
        before = tokens[here]
        without = before[second].masked_fill(hidden[here[second]], layout.vocabulary.mask)
        both = Canvas(layout, torch.cat([before, without]), torch.cat([canvas.given[here], canvas.given[here[second]]]))
        level = both.masked_fraction()
        if model.config.time_input == "sigma":
            level = (1 - torch.tensor(done + [done[at] for at in guided], device=device))[:, None].expand(-1, len(MODALITIES))
        states = model.hidden(both.tokens, level)
        count, length = both.tokens.shape
        passes.append(Pass(count, len(guided), length, length, count * length, count * length))
        t = 1 - torch.tensor(done, device=device)[:, None]
        w = settings.guidance * (1 - t[second])[..., None]
        numbers, drawn, sure = uniform[index][:, here], before.clone(), torch.zeros(before.shape, device=device)
        for m in MODALITIES:
            where = layout.of(m)
            logits = model.logits(states, m)[:, where].float()  # computed everywhere, as there
            known, unknown = logits[: len(rows)], logits[len(rows) :]
            known = known.index_put((second,), (1 + w) * known[second] - w * unknown)
            flags.append(non_finite(known))
            if m == "report" and ending is not None and barred is not None:
                known = ending.forbid(known, barred[here])
            ids, log_probability = draw(known, fine(numbers[..., where]), 1.0, 1.0)
            drawn[:, where] = layout.ids(ids, m)
            confidence = log_probability.gather(-1, ids[..., None])[..., 0]
            sure[:, where] = confidence + settings.noise * t * gumbel(numbers[1][:, where])
        masked = both.masked[: len(rows)]
        place = sure.masked_fill(~masked, -torch.inf).argsort(dim=1, descending=True).argsort(dim=1)
        now = torch.tensor([due[row][index] for row in rows], device=device)
        tokens[here] = torch.where(masked & (place < now[:, None]), drawn, before)
    refuse_non_finite(flags)
    return Canvas(layout, tokens, canvas.given), passes
