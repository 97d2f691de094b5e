"""Fills a canvas from the left, for an autoregressive model; by a cache each token goes through the blocks once."""

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from medim.canvas import MODALITIES, Canvas, Modality
from medim.denoiser import MeDiMModel
from medim.sampling.ending import Ending
from medim.sampling.forward import Pass, non_finite, refuse_non_finite
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import draw, fine, noise


@torch.no_grad()
def from_the_left(
    model: MeDiMModel, canvas: Canvas, settings: SamplerSettings, seeds: Sequence[int], ending: Ending | None = None
) -> tuple[Canvas, list[Pass]]:
    """One token a forward; returns the canvas and the passes through the model.
    A modality that is given entirely is read first; where neither is, the canvas's order holds. Given tokens inside a modality
    stay: they condition what follows them, and what precedes them only must not end the report (`ending`)."""
    layout = canvas.layout
    vacant = canvas.masked.cpu().any(0)
    open_ = {m: bool(vacant[layout.of(m)].any()) for m in MODALITIES}
    report_first = layout.order == "report-image" if open_["image"] == open_["report"] else open_["image"]
    order = model.reading_order(report_first)
    uniform = noise(seeds, 1, layout.length)[0].to(canvas.tokens.device)  # (3, B, L)
    barred = None if ending is None else ending.barred(canvas, settings.report.length)
    tokens, passes, read, past = canvas.tokens.clone(), list[Pass](), 0, DynamicCache()
    rows, flags = len(tokens), list[torch.Tensor]()
    opening = model.added.weight[0].expand(rows, 1, -1)
    for index, place in enumerate(order.tolist()):
        if not vacant[place]:
            continue
        before = model.embed(tokens)[:, order[max(0, read - 1) : index].to(tokens.device)]
        fresh = before if read else torch.cat([opening, before], dim=1)  # what has not been read
        modality: Modality = "image" if layout.image.start <= place < layout.image.stop else "report"
        chosen = settings.of(modality)
        logits = model.logits(model.backbone(fresh, None, past=past)[:, -1], modality)
        flags.append(non_finite(logits))
        if modality == "report" and ending is not None and barred is not None:
            logits = ending.forbid(logits, barred[:, place - layout.report.start])
        drawn, _ = draw(logits, fine(uniform[:, :, place]), chosen.temperature, chosen.top_p)
        masked = tokens[:, place] == layout.vocabulary.mask
        tokens[:, place] = torch.where(masked, layout.ids(drawn, modality), tokens[:, place])
        computed = {m: rows if m == modality else 0 for m in MODALITIES}
        passes.append(Pass(rows, 0, fresh.shape[1], index + 1, computed["image"], computed["report"]))
        read = index + 1
    refuse_non_finite(flags)
    return Canvas(layout, tokens, canvas.given), passes
