"""Canvases with any part of an image-report pair given: completions, and edits of an image by its changed report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.sampling.decoder import Decoded
from medim.sampling.editing.gaps import fill_in
from medim.sampling.editing.regions import concerned, passes_of
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.report import ReportTokenizer


@dataclass(frozen=True)
class Completion:
    """A pair with its image `codes` (image_length,); `redrawn` (grid, grid) is True at tokens that were not given."""

    image: Image.Image
    report: str
    codes: torch.Tensor
    redrawn: np.ndarray


def one_each(values: Sequence[Any] | None, count: int, name: str) -> list[Any]:
    """One value for each sample, None where there are none. Raises UserError for another number of values."""
    if values is None:
        return [None] * count
    if len(values) != count:
        raise UserError(f"{name}: {len(values)} for {count} samples")
    return list(values)


def canvas_of(
    model: MeDiMModel,
    reports: ReportTokenizer,
    codes: Sequence[torch.Tensor | None],
    redraw: Sequence[np.ndarray | None],
    texts: Sequence[str | None],
    seeds: Sequence[int],
) -> Canvas:
    """One canvas for each sample.

    Args:
        codes: of the image (image_length,), or None where none is given.
        redraw: True at tokens of it to generate, (grid, grid); None for none of them.
        texts: the report, with gaps or without; None where none is given.

    Raises UserError: a report that does not fit.
    """
    layout = model.config.layout
    rows = []
    for code, mask, text, seed in zip(codes, redraw, texts, seeds, strict=True):
        canvas = Canvas.blank(layout, 1)
        if code is not None:
            canvas = canvas.give_image(code.cpu()[None], None if mask is None else ~torch.from_numpy(mask).reshape(1, -1))
        if text is not None:
            canvas = canvas.give_report(*_report(model, reports, text, canvas, seed))
        rows.append(canvas)
    tokens, given = torch.cat([c.tokens for c in rows]), torch.cat([c.given for c in rows])
    return Canvas(layout, tokens.to(model.device), given.to(model.device))


def _report(
    model: MeDiMModel, reports: ReportTokenizer, text: str, canvas: Canvas, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    if "[[" not in text:
        ids = reports.encode([text])
        return ids, torch.ones_like(ids, dtype=torch.bool)
    ids, given = fill_in(model, reports, text, canvas, seed)
    if bool(given.all()):
        raise UserError(f"report has no gap to fill: {text!r}")
    return ids[None], given[None]


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
    """Canvases with the new report given and the image's region to draw anew, and the cost of a search for regions.

    Args:
        codes: of the images, (image_length,) each.
        old, new: each report before and after, with gaps or without.
        regions: tokens to draw anew, (grid, grid); None for those that the change concerns (`regions.concerned`).
        share: of the evidence that a region found has to hold.

    Raises UserError: a report that does not fit, or no region for a model that cannot find one.
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
