"""Ancestral sampling: every step draws from the posterior of the process, for any process."""

from collections.abc import Sequence

import torch

from medim.canvas import MODALITIES, Canvas
from medim.diffusion.transition import Transition, transition
from medim.sampling.ending import Ending
from medim.sampling.forward import Denoiser, Pass, Request, account, non_finite, read, refuse_non_finite
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import fine, noise, nucleus, wide


def posterior_step(
    process: Transition, z: torch.Tensor, probability: torch.Tensor, t: float, s: float, uniform: torch.Tensor
) -> torch.Tensor:
    r"""z_s ~ q(z_s | z_t, x_\theta), by inverse transform. `z`: states (n,). `probability`: x_theta, shape (n, V). `t`, `s`:
    noise levels 1 - alpha before and after; s < t. `uniform`: in [0, 1), shape (n,)."""
    ones = torch.ones(len(z), dtype=torch.float64, device=z.device)
    law = process.posterior(z, probability.double(), ones * (1 - t), ones * (1 - s))
    cumulative = law.cumsum(-1)
    target = uniform[:, None].double() * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=process.size)
    return torch.where(law.gather(-1, drawn[:, None])[:, 0] > 0, drawn, law.argmax(-1))


@torch.no_grad()
def ancestral(
    model: Denoiser, canvas: Canvas, settings: SamplerSettings, seeds: Sequence[int], ending: Ending | None = None
) -> tuple[Canvas, list[Pass]]:
    """Fills what is vacant in a canvas from pure noise, all positions at every step; noise levels fall evenly.
    Where both modalities are vacant, each runs in its part of the trajectory (`start`, `stop`). What `ending` bars is
    impossible as a clean token x, and may stand as noise. Returns the canvas and the passes through the model."""
    layout, device = canvas.layout, canvas.tokens.device
    free, vacant = canvas.masked, canvas.masked.cpu()
    barred = None if ending is None else ending.barred(canvas, settings.report.length)
    active = [m for m in MODALITIES if bool(vacant[:, layout.of(m)].any())]
    rounds = max((settings.of(m).steps for m in active), default=0)
    uniform = noise(seeds, rounds + 1, layout.length).to(device)
    tokens, passes, flags = canvas.tokens.clone(), [], list[torch.Tensor]()
    level = dict.fromkeys(MODALITIES, 0.0)
    processes = {m: transition(model.config.transition, layout.size(m)) for m in MODALITIES}
    for m in active:
        where, level[m] = layout.of(m), 1.0
        zero = torch.zeros_like(tokens[:, where])
        alone = processes[m].corrupt(zero, torch.zeros((), device=device), fine(uniform[rounds])[:, where])
        tokens[:, where] = torch.where(free[:, where], layout.ids(alone, m), tokens[:, where])
    requests = {m: Request(m, _places(vacant[:, layout.of(m)]).to(device), None) for m in active}
    for index in range(rounds):
        following = dict(level)
        for m in active:
            part = settings.of(m)
            start, stop = (part.start, part.stop) if len(active) == len(MODALITIES) else (0.0, 1.0)
            following[m] = 1 - min(max(((index + 1) / rounds - start) / (stop - start), 0.0), 1.0)
        due = [m for m in active if following[m] < level[m]]
        if not due:
            continue
        now, wanted = Canvas(layout, tokens, canvas.given), [requests[m] for m in due]
        t = torch.tensor([level[m] for m in MODALITIES]).to(device).expand(len(tokens), 2)
        logits = read(model, now, model.hidden(tokens, t), wanted)
        passes.append(account(now, wanted))
        flags += map(non_finite, logits.values())
        tokens = tokens.clone()
        for request in wanted:
            m, where, chosen = request.modality, layout.of(request.modality), settings.of(request.modality)
            at_places = logits[m]
            if m == "report" and ending is not None and barred is not None:
                at_places = ending.forbid(at_places, barred.gather(1, request.place))
            probability = nucleus(wide((at_places.float() / chosen.temperature).softmax(-1)), chosen.top_p)
            probability = probability / probability.sum(-1, keepdim=True)
            before = tokens[:, where].gather(1, request.place)
            numbers = fine(uniform[index])[:, where].gather(1, request.place)
            states = layout.states(before, m).flatten()
            z = posterior_step(processes[m], states, probability.flatten(0, 1), level[m], following[m], numbers.flatten())
            after = torch.where(free[:, where].gather(1, request.place), layout.ids(z.view_as(before), m), before)
            tokens[:, where] = tokens[:, where].scatter(1, request.place, after)
        level = following
    refuse_non_finite(flags)
    return Canvas(layout, tokens, canvas.given), passes


def _places(free: torch.Tensor) -> torch.Tensor:
    """Positions (B, K) that hold all the free ones of each row, K of them the most that any row has."""
    return free.int().argsort(dim=1, descending=True, stable=True)[:, : int(free.sum(1).max())]
