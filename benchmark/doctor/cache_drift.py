"""What lending hidden states from round to round does to samples: how many tokens come out otherwise, and what it saves."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from medim.canvas import Canvas
from medim.pipeline import MeDiMPipeline
from medim.sampling.cost import active_tokens
from medim.sampling.decoder import decode
from medim.sampling.ending import Ending

REFRESHES = (1, 2, 4, 8)
BATCH = 32


@dataclass(frozen=True)
class Drift:
    """Unprompted pairs at one `cache.refresh`, beside those of the same seeds without a cache."""

    refresh: int
    changed: float  # share of the tokens of image and report that differ
    # image_changed, report_changed: the same by modality
    image_changed: float
    report_changed: float
    active: float  # positions that went through the blocks, over those without a cache
    # images, reports: the pairs, for checkers
    images: list[Image.Image]
    reports: list[str]


@torch.no_grad()
def cache_drift(pipeline: MeDiMPipeline, seeds: Sequence[int], refreshes: Sequence[int] = REFRESHES) -> list[Drift]:
    """One row for each of `refreshes`, the other settings being the pipeline's own.
    Raises UserError: a model whose blocks cannot be run for some positions alone."""
    layout, device = pipeline.model.config.layout, pipeline.model.device
    ending = Ending(pipeline.reports.end, pipeline.reports.padding)
    exact: torch.Tensor | None = None
    whole, rows = 0, []
    for refresh in dict.fromkeys((1, *refreshes)):
        settings = pipeline.sampler.with_overrides({"cache.refresh": refresh})
        tokens, active = [], 0
        for start in range(0, len(seeds), BATCH):
            batch = seeds[start : start + BATCH]
            done = decode(pipeline.model, Canvas.blank(layout, len(batch), device), settings, batch, ending)
            tokens.append(done.canvas.tokens)
            active += active_tokens(done.passes)
        filled = torch.cat(tokens)
        if exact is None:
            exact, whole = filled, active
        differs = (filled != exact).float()
        canvas = Canvas(layout, filled, torch.ones_like(filled, dtype=torch.bool))
        rows.append(
            Drift(
                refresh,
                changed=float(differs[:, layout.structure == layout.vocabulary.mask].mean()),
                image_changed=float(differs[:, layout.image].mean()),
                report_changed=float(differs[:, layout.report].mean()),
                active=active / whole,
                images=pipeline.images.decode_images(canvas.image_codes()),
                reports=pipeline.reports.decode(canvas.report_tokens().cpu()),
            )
        )
    return [row for row in rows if row.refresh in refreshes]
