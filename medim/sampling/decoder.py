"""The loop: one forward a round, both modalities revealed from it, until nothing is masked."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from medim.canvas import MODALITIES, Canvas
from medim.denoiser import MeDiMModel
from medim.sampling.ancestral import ancestral
from medim.sampling.autoregressive import from_the_left
from medim.sampling.noise import noise
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import remaining, reveal


@dataclass(frozen=True)
class Decoded:
    """A finished canvas and what it cost.

    Attributes:
        canvas: nothing masked.
        forwards: passes through the model, each over the whole batch.
        seconds: wall time of the loop.
    """

    canvas: Canvas
    forwards: int
    seconds: float


@torch.no_grad()
def decode(model: MeDiMModel, canvas: Canvas, settings: SamplerSettings, seeds: Sequence[int]) -> Decoded:
    """Fills a canvas.

    The model is fed the true masked fraction of each modality as its time (B, 2). A modality that is given entirely costs
    nothing; when both are generated, each is revealed in its own part of the trajectory (`start`, `stop`).

    Args:
        seeds: one for each sample.
    """
    started = time.perf_counter()
    if model.config.objective == "autoregressive":
        canvas, forwards = from_the_left(model, canvas, settings, seeds)
        return Decoded(canvas, forwards, time.perf_counter() - started)
    if model.config.transition != "absorbing":
        canvas, forwards = ancestral(model, canvas, settings, seeds)
        return Decoded(canvas, forwards, time.perf_counter() - started)
    layout = canvas.layout
    vacant = {m: canvas.masked[:, layout.of(m)].sum(1) for m in MODALITIES}  # (B,) each
    active = [m for m in MODALITIES if bool(vacant[m].any())]
    joint = len(active) == len(MODALITIES)
    rounds = max((settings.of(m).steps for m in active), default=0)
    uniform = noise(seeds, rounds, layout.length).to(canvas.tokens.device)
    forwards = 0
    for index in range(rounds):
        keep = {}
        for m in active:
            own = settings.of(m)
            start, stop = (own.start, own.stop) if joint else (0.0, 1.0)
            progress = min(max(((index + 1) / rounds - start) / (stop - start), 0.0), 1.0)
            keep[m] = remaining(own, progress, vacant[m])
        masked = canvas.masked
        due = [m for m in active if bool((masked[:, layout.of(m)].sum(1) > keep[m]).any())]
        if not due:
            continue
        select = torch.zeros_like(masked)
        for m in due:
            select[:, layout.of(m)] = masked[:, layout.of(m)]
        output = model(canvas.tokens, canvas.masked_fraction(), select)
        forwards += 1
        for m in due:
            canvas = reveal(canvas, m, output.of(m), keep[m], uniform[index][:, :, layout.of(m)], settings.of(m))
    return Decoded(canvas, forwards, time.perf_counter() - started)
