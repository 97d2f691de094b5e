"""Filling a canvas from the left, for a model trained to tell each token from those before it."""

from collections.abc import Sequence

import torch

from medim.canvas import MODALITIES, Canvas, Modality
from medim.denoiser import MeDiMModel
from medim.sampling.forward import Pass
from medim.sampling.noise import noise
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import draw


@torch.no_grad()
def from_the_left(
    model: MeDiMModel, canvas: Canvas, settings: SamplerSettings, seeds: Sequence[int]
) -> tuple[Canvas, list[Pass]]:
    """One token a forward, in the order that puts what is given first.

    A modality that is given entirely is read first; where neither is, the canvas's own order holds. Given tokens inside a
    modality stay: what follows them is told from them, what precedes them is not.

    Returns:
        The canvas and the passes through the model.
    """
    layout = canvas.layout
    vacant = canvas.masked.cpu().any(0)
    open_ = {m: bool(vacant[layout.of(m)].any()) for m in MODALITIES}
    report_first = layout.order == "report-image" if open_["image"] == open_["report"] else open_["image"]
    order: list[Modality] = ["report", "image"] if report_first else ["image", "report"]
    uniform = noise(seeds, 1, layout.length)[0, 0].to(canvas.tokens.device)  # (B, L)
    tokens, passes = canvas.tokens.clone(), []
    rows, length = tokens.shape
    first = torch.full((rows,), report_first, device=tokens.device)
    t = torch.zeros(rows, 2, device=tokens.device)
    for modality in order:
        where, own = layout.of(modality), settings.of(modality)
        for place in range(where.start, where.stop):
            if not vacant[place]:
                continue
            logits = model.logits(model.hidden(tokens, t, report_first=first)[:, place], modality)
            drawn, _ = draw(logits, uniform[:, place], own.temperature, own.top_p)
            masked = tokens[:, place] == layout.vocabulary.mask
            tokens[:, place] = torch.where(masked, layout.ids(drawn, modality), tokens[:, place])
            made = {m: rows if m == modality else 0 for m in MODALITIES}
            passes.append(Pass(rows, 0, length, length, made["image"], made["report"]))
    return Canvas(layout, tokens, canvas.given), passes
