"""Any part of an image-report pair given, the rest generated: the canvas of each wish."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.sampling.editing.gaps import fill_in
from medim.tokenizers.report import ReportTokenizer


@dataclass(frozen=True)
class Completion:
    """A completed pair.

    Attributes:
        image, report: as they are now.
        codes: image tokens, (image_length,).
        redrawn: image tokens that were not given, (grid, grid).
    """

    image: Image.Image
    report: str
    codes: torch.Tensor
    redrawn: np.ndarray


def one_each(values: Sequence[Any] | None, count: int, name: str) -> list[Any]:
    """One value for each sample, None where there are none.

    Raises:
        UserError: another number of values.
    """
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
        redraw: tokens of it that are not given after all, (grid, grid); None for none of them.
        texts: the report, with gaps or without; None where none is given.

    Raises:
        UserError: a report that does not fit.
    """
    layout = model.config.layout
    rows = []
    for code, mask, text, seed in zip(codes, redraw, texts, seeds, strict=True):
        canvas = Canvas.blank(layout, 1)
        if code is not None:
            known = torch.ones(1, layout.image_length, dtype=torch.bool)
            if mask is not None:
                known &= ~torch.from_numpy(mask).flatten()
            tokens, given = canvas.tokens.clone(), canvas.given.clone()
            ids = layout.vocabulary.image_ids(code.cpu()[None])
            tokens[:, layout.image] = torch.where(known, ids, tokens[:, layout.image])
            given[:, layout.image] = known
            canvas = Canvas(layout, tokens, given)
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
