"""Pairs to be edited: the changed report given, the image's tokens that the change concerns to be drawn anew."""

import time
from collections.abc import Sequence

import numpy as np
import torch

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.sampling.decoder import Decoded
from medim.sampling.editing.completion import canvas_of
from medim.sampling.editing.regions import concerned, passes_of
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.report import ReportTokenizer


def canvas_of_edit(
    model: MeDiMModel,
    reports: ReportTokenizer,
    codes: Sequence[torch.Tensor | None],
    old: Sequence[str],
    new: Sequence[str],
    regions: Sequence[np.ndarray | None],
    share: float,
    seeds: Sequence[int],
) -> tuple[Canvas, Decoded | None]:
    """One canvas for each pair, and what the search for regions took, where there was one.

    Args:
        codes: of the images, (image_length,) each.
        old, new: each report, and what it becomes, with gaps or without.
        regions: tokens to draw anew, (grid, grid); None for those that the change concerns (`regions.concerned`).
        share: of the evidence that a region found has to hold.

    Raises:
        UserError: a report that does not fit, or no region for a model that cannot find one.
    """
    none = [None] * len(seeds)
    after = canvas_of(model, reports, codes, none, new, seeds)
    redraw, search = torch.zeros(len(seeds), after.layout.image_length, dtype=torch.bool), None
    if any(region is None for region in regions):
        if model.autoregressive:
            raise UserError("an autoregressive model does not find what a change concerns: give the regions")
        before = canvas_of(model, reports, codes, none, old, seeds)
        started, looks = time.perf_counter(), passes_of(before)
        redraw = concerned(model, before, after, share, seeds)
        search = Decoded(before, len(looks), time.perf_counter() - started, looks)
    for row, region in enumerate(regions):
        if region is not None:
            redraw[row] = torch.from_numpy(region).flatten()
    layout, mask = after.layout, torch.zeros_like(after.given)
    mask[:, layout.image] = redraw.to(mask.device)
    tokens = after.tokens.masked_fill(mask, layout.vocabulary.mask)
    return Canvas(layout, tokens, after.given & ~mask), search


def sampler_of_edit(sampler: SamplerSettings, model: MeDiMModel) -> SamplerSettings:
    """The sampler with at least `edit.guidance` for the image, where it can be guided so."""
    if model.autoregressive or model.config.transition != "absorbing" or sampler.procedure == "released":
        return sampler
    return sampler.with_overrides({"image.guidance": max(sampler.image.guidance, sampler.edit.guidance)})
