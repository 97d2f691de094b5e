"""Ancestral sampling: every step draws from the posterior of the process, for any process."""

from collections.abc import Sequence

import torch

from medim.canvas import MODALITIES, Canvas
from medim.denoiser import DenoiserOutput, MeDiMModel
from medim.diffusion.transition import Transition, transition
from medim.sampling.noise import noise
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import nucleus


def posterior_step(
    process: Transition, z: torch.Tensor, probability: torch.Tensor, t: float, s: float, uniform: torch.Tensor
) -> torch.Tensor:
    r"""z_s ~ q(z_s | z_t, x_\theta), by inverse transform.

    Args:
        z: states (n,).
        probability: x_theta, shape (n, V).
        t, s: noise levels 1 - alpha before and after; s < t.
        uniform: in [0, 1), shape (n,).
    """
    ones = torch.ones(len(z), dtype=torch.float64, device=z.device)
    law = process.posterior(z, probability.double(), ones * (1 - t), ones * (1 - s))
    cumulative = law.cumsum(-1)
    target = uniform[:, None].double() * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=process.size)
    return torch.where(law.gather(-1, drawn[:, None])[:, 0] > 0, drawn, law.argmax(-1))


@torch.no_grad()
def ancestral(model: MeDiMModel, canvas: Canvas, settings: SamplerSettings, seeds: Sequence[int]) -> tuple[Canvas, int]:
    """Fills what is vacant in a canvas from pure noise, all positions at every step; noise levels fall evenly.

    Where both modalities are vacant, each runs in its own part of the trajectory (`start`, `stop`).

    Returns:
        The canvas and the number of forwards.
    """
    layout = canvas.layout
    free = canvas.masked
    active = [m for m in MODALITIES if bool(free[:, layout.of(m)].any())]
    rounds = max((settings.of(m).steps for m in active), default=0)
    uniform = noise(seeds, rounds + 1, layout.length).to(canvas.tokens.device)
    tokens = canvas.tokens.clone()
    level = dict.fromkeys(MODALITIES, 0.0)
    processes = {m: transition(model.config.transition, layout.size(m)) for m in MODALITIES}
    for m in active:
        where, level[m] = layout.of(m), 1.0
        chosen = free[:, where]
        zero = torch.zeros(int(chosen.sum()), dtype=torch.long, device=tokens.device)
        alone = processes[m].corrupt(zero, torch.zeros((), device=tokens.device), uniform[rounds, 0][:, where][chosen])
        tokens[:, where][chosen] = layout.ids(alone, m)
    forwards = 0
    for index in range(rounds):
        following = dict(level)
        for m in active:
            own = settings.of(m)
            start, stop = (own.start, own.stop) if len(active) == len(MODALITIES) else (0.0, 1.0)
            following[m] = 1 - min(max(((index + 1) / rounds - start) / (stop - start), 0.0), 1.0)
        due = [m for m in active if following[m] < level[m]]
        if not due:
            continue
        select = torch.zeros_like(free)
        for m in due:
            select[:, layout.of(m)] = free[:, layout.of(m)]
        t = torch.tensor([level[m] for m in MODALITIES], device=tokens.device).expand(len(tokens), 2)
        output = model(tokens, t, select)
        assert isinstance(output, DenoiserOutput)
        forwards += 1
        for m in due:
            where = layout.of(m)
            chosen = free[:, where]
            own = settings.of(m)
            probability = nucleus((output.of(m).float() / own.temperature).softmax(-1), own.top_p)
            probability = probability / probability.sum(-1, keepdim=True)
            z = layout.states(tokens[:, where][chosen], m)
            z = posterior_step(processes[m], z, probability, level[m], following[m], uniform[index, 0][:, where][chosen])
            tokens[:, where][chosen] = layout.ids(z, m)
        level = following
    return Canvas(layout, tokens, canvas.given), forwards
