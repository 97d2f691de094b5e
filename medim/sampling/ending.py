"""Where a report ends: what may stand before its end, and nothing behind it."""

from dataclasses import dataclass

import torch

from medim.canvas import Canvas
from medim.common.errors import UserError


@dataclass(frozen=True)
class Ending:
    """`end` stands once, after the last word of a report; `padding`, which may be the same id, fills the rest."""

    end: int
    padding: int

    def barred(self, canvas: Canvas, length: int = 0) -> torch.Tensor:
        """True where neither end nor padding may be drawn, (B, report_length): before a given word or end (where it is no
        padding too), and within a requested `length`."""
        tokens, given = canvas.report_tokens(), canvas.given[:, canvas.layout.report]
        word = (tokens != self.padding) if self.end != self.padding else (tokens != self.end)
        barred = (given & word).int().flip(1).cummax(1).values.flip(1).bool()
        barred[:, :length] = True
        return barred & ~given

    def forbid(self, logits: torch.Tensor, barred: torch.Tensor) -> torch.Tensor:
        """Logits (..., V) without end and padding where `barred` (...)."""
        logits = logits.clone()
        for token in {self.end, self.padding}:
            logits[..., token] = logits[..., token].masked_fill(barred, -torch.inf)
        return logits

    def at_length(self, canvas: Canvas, length: int) -> Canvas:
        """The canvas with end and padding given behind `length` tokens of each report that has anything vacant.
        Raises UserError: it does not fit, or a given token stands where the end would."""
        layout = canvas.layout
        if length >= layout.report_length:
            raise UserError(f"report.length: {length} tokens and their end do not fit into {layout.report_length}")
        tail = torch.full((layout.report_length - length,), self.padding, device=canvas.tokens.device)
        tail[0] = self.end
        report, given = canvas.report_tokens(), canvas.given[:, layout.report]
        open_ = ~given.all(1, keepdim=True)
        if bool((open_ & given[:, length:] & (report[:, length:] != tail)).any()):
            raise UserError(f"report.length: given text goes beyond the {length} tokens requested")
        if bool((open_ & given[:, :length] & ((report == self.end) | (report == self.padding))[:, :length]).any()):
            raise UserError(f"report.length: given text ends before the {length} tokens requested")
        tokens, mask = canvas.tokens.clone(), canvas.given.clone()
        where = slice(layout.report.start + length, layout.report.stop)
        tokens[:, where] = torch.where(open_, tail, tokens[:, where])
        mask[:, where] |= open_
        return Canvas(layout, tokens, mask)

    def trim(self, canvas: Canvas) -> Canvas:
        """The canvas with padding behind the first end of each report; what is given stays."""
        layout = canvas.layout
        report = canvas.report_tokens()
        over = (report == self.end).int().cumsum(1)
        behind = (over - (report == self.end).int() > 0) & ~canvas.given[:, layout.report]
        tokens = canvas.tokens.clone()
        tokens[:, layout.report] = torch.where(behind, self.padding, report)
        return Canvas(layout, tokens, canvas.given)
