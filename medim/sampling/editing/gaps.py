"""Reports with gaps: `Heart size is normal. [[ ]] No effusion.` is a canvas whose middle is to be written.
`[[12]]` is a gap of 12 tokens. The length of `[[ ]]` is drawn by the probability that the text behind it stands there, whatever
fills the gap. A gap at the end is as long as the model makes it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.common.streams import stream
from medim.denoiser import MeDiMModel
from medim.likelihood.bound import conditional_bound
from medim.tokenizers.report import ReportTokenizer

_GAP = re.compile(r"\s*\[\[\s*(\d*)\s*\]\]")
LONGEST = 24
"""Tokens of the longest gap whose length is not stated."""
DRAWS = 4
"""Of the noise, for the bound of each length."""


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

    Args:
        canvas: of one sample, with what is known of the image.
        seed: of the gaps' lengths.

    Raises UserError: no room, or a gap whose length this model cannot score.
    """
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
