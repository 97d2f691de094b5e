"""Canvases with any part of an image-report pair given: completions, and edits of an image by its changed report."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.common.streams import stream
from medim.denoiser import MeDiMModel
from medim.likelihood.bound import conditional_bound
from medim.sampling.decoder import Decoded
from medim.sampling.editing.regions import concerned, passes_of
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.report import ReportTokenizer

_GAP = re.compile(r"\s*\[\[\s*(\d*)\s*\]\]")
LONGEST = 24  # tokens of the longest gap whose length is not stated
DRAWS = 4  # of the noise, for the bound of each length


@dataclass(frozen=True)
class Part:
    """Given text, as its tokens `ids`, or a `gap` of `length` tokens (None where it is not stated)."""

    ids: tuple[int, ...]
    gap: bool = False
    length: int | None = None


def with_gaps(report: str, spans: Sequence[tuple[int, int]]) -> str:
    """The report with a gap in place of each span of characters (start, stop).
    Raises UserError: spans that overlap or leave the report."""
    text, last = "", 0
    for start, stop in sorted(spans):
        if not last <= start < stop <= len(report):
            raise UserError(f"spans of a report of {len(report)} characters: {start} to {stop} overlaps another or leaves it")
        text, last = text + report[last:start].rstrip() + " [[ ]]", stop
        if stop < len(report) and not report[stop].isspace():
            text += " "
    return text + report[last:]


def parts_of(reports: ReportTokenizer, text: str) -> list[Part]:
    """Given text and gaps, in turn; neighbouring gaps without a stated length are one."""
    result: list[Part] = []
    last = 0
    for match in [*_GAP.finditer(text), None]:
        words = text[last : match.start() if match else len(text)]
        ids = tuple(reports.ids(words)[0 if not result else len(reports.opening) :]) if words.strip() else ()
        if ids:
            result.append(Part(ids))
        if match is None:
            break
        length = int(match[1]) if match[1] else None
        if not (result and result[-1].gap and result[-1].length is None and length is None):
            result.append(Part((), True, length))
        last = match.end()
    return result


def fill_in(
    model: MeDiMModel, reports: ReportTokenizer, text: str, canvas: Canvas, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and which of them are given, each (report_length,), of one report with gaps.
    `canvas`: of one sample, with what is known of the image.
    `seed`: of the gaps' lengths.
    Raises UserError: no room, or a gap whose length this model cannot score."""
    size, end, padding = reports.report_length, reports.end, reports.padding
    parts = parts_of(reports, text)
    fixed = sum(len(part.ids) + (part.length or 0) for part in parts) + 1  # the end
    unstated = [part for part in parts if part.gap and part.length is None]
    room = size - fixed
    if room < len(unstated):
        raise UserError(f"report with gaps needs {fixed} tokens, {len(unstated)} more to fill, and there are {size}: {text!r}")
    ids, given = torch.full((size,), padding), torch.zeros(size, dtype=torch.bool)
    random, place = stream(seed, 4), 0
    for number, part in enumerate(parts):
        if not part.gap:
            ids[place : place + len(part.ids)] = torch.tensor(part.ids)
            given[place : place + len(part.ids)] = True
            place += len(part.ids)
            continue
        if part.length is not None:
            place += part.length
            continue
        if number == len(parts) - 1:
            return ids, given  # the model ends the report
        following = parts[number + 1].ids
        last = number + 2 == len(parts)
        longest = min(room - len(unstated) + 1, LONGEST)
        scores = _scores(model, canvas, ids, given, place, following + ((end,) if last else ()), longest)
        law = scores.double().softmax(0).cumsum(0)
        length = 1 + int(torch.searchsorted(law, random.random() * float(law[-1]), right=True).clamp(max=longest - 1))
        place, room = place + length, room - length
        unstated = unstated[1:]
    ids[place], given[place:] = end, True
    return ids, given


def _scores(
    model: MeDiMModel, canvas: Canvas, ids: torch.Tensor, given: torch.Tensor, place: int, text: tuple[int, ...], longest: int
) -> torch.Tensor:
    """Bounds on log p(text `length` tokens behind `place` | what is given before, image) for lengths 1 .. longest."""
    if not text:
        return torch.zeros(longest)
    if model.config.objective == "autoregressive":
        raise UserError("an autoregressive model does not see the text behind a gap: state the gap's length, as in [[12]]")
    layout = canvas.layout
    clean = canvas.tokens.cpu().repeat(longest, 1)
    known = canvas.given.cpu().repeat(longest, 1)
    clean[:, layout.report] = torch.where(given, ids, layout.vocabulary.mask)
    known[:, layout.report] = given
    target = torch.zeros_like(known)
    for row in range(longest):
        start = layout.report.start + place + row + 1
        clean[row, start : start + len(text)] = torch.tensor(text)
        target[row, start : start + len(text)] = True
    return -conditional_bound(model, clean, target, ~known & ~target, DRAWS, 0, [0] * longest)[:, 1]


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
    """One canvas for each sample. `codes`: of the image (image_length,), or None where none is given. `redraw`: True at tokens
    of it to generate, (grid, grid); None for none of them. `texts`: the report, with gaps or without; None where none is given.
    Raises UserError: a report that does not fit."""
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
    `codes`: of the images, (image_length,) each.
    `old`, `new`: each report before and after, with gaps or without.
    `regions`: tokens to draw anew, (grid, grid); None for those that the change concerns (`regions.concerned`).
    `share`: of the evidence that a region found has to hold.
    Raises UserError: a report that does not fit, or no region for a model that cannot find one."""
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
