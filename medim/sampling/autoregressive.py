"""Filling a canvas from the left, for a model trained to tell each token from those before it."""

from collections.abc import Sequence

import torch

from medim.canvas import MODALITIES, Canvas, Modality
from medim.denoiser import DenoiserOutput, MeDiMModel
from medim.sampling.noise import noise
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import draw


@torch.no_grad()
def from_the_left(model: MeDiMModel, canvas: Canvas, settings: SamplerSettings, seeds: Sequence[int]) -> tuple[Canvas, int]:
    """One token a forward, in the order that puts what is given first.

    A modality that is given entirely is read first; where neither is, the canvas's own order holds. Given tokens inside a
    modality stay: what follows them is told from them, what precedes them is not.

    Returns:
        The canvas and the number of forwards.
    """
    layout = canvas.layout
    vacant = {m: bool(canvas.masked[:, layout.of(m)].any()) for m in MODALITIES}
    report_first = layout.order == "report-image" if vacant["image"] == vacant["report"] else vacant["image"]
    order: list[Modality] = ["report", "image"] if report_first else ["image", "report"]
    uniform = noise(seeds, 1, layout.length)[0, 0].to(canvas.tokens.device)  # (B, L)
    tokens, forwards = canvas.tokens.clone(), 0
    first = torch.full((len(tokens),), report_first, device=tokens.device)
    t = torch.zeros(len(tokens), 2, device=tokens.device)
    for modality in order:
        where = layout.of(modality)
        for place in range(where.start, where.stop):
            masked = tokens[:, place] == layout.vocabulary.mask
            if not masked.any():
                continue
            select = torch.zeros_like(tokens, dtype=torch.bool)
            select[:, place] = True
            output = model(tokens, t, select, report_first=first)
            assert isinstance(output, DenoiserOutput)
            own = settings.of(modality)
            drawn, _ = draw(output.of(modality), uniform[:, place], own.temperature, own.top_p)
            tokens[:, place] = torch.where(masked, layout.ids(drawn, modality), tokens[:, place])
            forwards += 1
    return Canvas(layout, tokens, canvas.given), forwards
