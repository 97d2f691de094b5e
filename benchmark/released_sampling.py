r"""How others sample, on the same weights: baselines for the decoder's speed and for what its samples are worth.

`Released`: the procedure of the code that the authors of MeDiM released. 128 steps, or as many as there are tokens to reveal
where these are fewer; one ranking of both modalities by log p(drawn) + 10 t Gumbel; the number revealed grows as arccos does;
guidance (1 + w) cond - w uncond with w = 5 (1 - t) by a second full forward at every step, all given tokens masked in it;
temperature 1. Its mistakes are left out: logits are restricted to the position's modality, and the network is told the true
masked fraction. Without anything given both forwards see the same: they are spent, and the law is the unguided one.

`PublicPractice`: the decoder's own sampler, step for step and with the same random numbers, computed as public decoders do it:
logits of every position over the whole vocabulary, a draw at every position, nothing from a cache, and the choice of what to
reveal row by row on the host.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from medim.canvas import MODALITIES, Canvas
from medim.denoiser import MeDiMModel
from medim.errors import UserError
from medim.pipeline import MeDiMPipeline
from medim.sampling.decoder import Decoded
from medim.sampling.ending import Ending
from medim.sampling.forward import Pass, broken, refuse_broken
from medim.sampling.noise import fine, noise
from medim.sampling.plan import plan, rounds_of
from medim.sampling.settings import SamplerSettings
from medim.sampling.steering import Spent
from medim.sampling.step import RANKS, Proposal, draw

STEPS, GUIDANCE, NOISE = 128, 5.0, 10.0


class Practice(MeDiMPipeline, ABC):
    """A pipeline of the same parts that fills canvases in another way."""

    def __init__(self, own: MeDiMPipeline) -> None:
        if own.model.autoregressive or own.model.config.transition != "absorbing":
            raise UserError(f"model '{own.name}': the baselines sample masked diffusion only")
        super().__init__(own.model, own.images, own.reports, own.sampler, own.name, own.fingerprint)

    def _decode(self, canvas: Canvas, seeds: Sequence[int], sampler: SamplerSettings | None = None) -> Canvas:
        if sampler is not None:
            raise UserError(f"model '{self.name}': the baselines fill canvases; they do not edit")
        started = time.perf_counter()
        ending = Ending(self.reports.end, self.reports.padding)
        with self._named():
            filled, passes = self.fill(canvas, seeds)
        decoded = Decoded(ending.trim(filled), len(passes), time.perf_counter() - started, tuple(passes))
        self.spent = Spent([decoded], [len(seeds)])
        return decoded.canvas

    @abstractmethod
    def fill(self, canvas: Canvas, seeds: Sequence[int]) -> tuple[Canvas, list[Pass]]:
        """The canvas without a mask, and what was computed."""


class Released(Practice):
    """128 steps of guided confidence sampling; see above."""

    def settings(self) -> dict[str, Any]:
        return {"practice": "released", "steps": STEPS, "guidance": GUIDANCE, "confidence_noise": NOISE}

    @torch.no_grad()
    def fill(self, canvas: Canvas, seeds: Sequence[int]) -> tuple[Canvas, list[Pass]]:
        layout, tokens, passes = canvas.layout, canvas.tokens.clone(), []
        totals = canvas.masked.sum(1).tolist()
        steps, flags = min(STEPS, max(totals)), list[torch.Tensor]()
        left = [falling(total, steps) for total in totals]
        uniform = noise(seeds, steps, layout.length).to(tokens.device)
        structure = layout.structure.to(tokens.device)
        hidden = canvas.given & (structure == layout.vocabulary.mask)  # what guidance masks
        for index in range(steps):
            now, t = Canvas(layout, tokens.clone(), canvas.given), 1 - index / steps
            masked = now.masked
            without = Canvas(layout, tokens.masked_fill(hidden, layout.vocabulary.mask), canvas.given)
            known, unknown = (full_logits(self.model, part) for part in (now, without))
            flags += map(broken, (known, unknown))
            passes += [_full_pass(now, guided=0), _full_pass(now, guided=len(tokens))]
            w = GUIDANCE * (1 - t)
            drawn, log_probability = draw(_restricted((1 + w) * known - w * unknown, now), fine(uniform[index]), 1.0, 1.0)
            gumbel = -torch.log(-torch.log(uniform[index, 1].clamp(1e-9, 1 - 1e-7)))
            sure = log_probability.gather(-1, drawn[..., None])[..., 0] + NOISE * t * gumbel
            for row in range(len(tokens)):
                count = int(masked[row].sum().item()) - left[row][index]
                best = sure[row].masked_fill(~masked[row], -torch.inf).topk(count).indices
                tokens[row, best] = _ids(drawn[row, best], layout)
        refuse_broken(flags)
        return Canvas(layout, tokens, canvas.given), passes


class PublicPractice(Practice):
    """The pipeline's own sampler with full logits, nothing cached and decisions on the host; see above."""

    def __init__(self, own: MeDiMPipeline) -> None:
        super().__init__(own)
        _check(self.sampler)

    def settings(self) -> dict[str, Any]:
        return {"practice": "public", **self.sampler.to_dict()}

    @torch.no_grad()
    def fill(self, canvas: Canvas, seeds: Sequence[int]) -> tuple[Canvas, list[Pass]]:
        layout, settings = canvas.layout, self.sampler
        vacant = canvas.masked.cpu()
        uniform = noise(seeds, rounds_of(layout, vacant, settings), layout.length)
        due = {entry.index: entry.turns for entry in plan(layout, vacant, settings, uniform)}
        tokens, device, passes = canvas.tokens.clone(), canvas.tokens.device, []
        uniform, flags = uniform.to(device), list[torch.Tensor]()
        for index in range(len(uniform)):
            now = Canvas(layout, tokens.clone(), canvas.given)
            if not bool(now.masked.any().item()):
                break
            turns = [turn.to(device) for turn in due.get(index, ())]
            logits = full_logits(self.model, now)
            flags.append(broken(logits))
            passes.append(_full_pass(now, guided=0))
            for turn in turns:
                own, where = settings.of(turn.modality), layout.of(turn.modality)
                guided = logits
                if turn.weight is not None:
                    without = now.tokens.clone()
                    without[:, layout.of(MODALITIES[1 - MODALITIES.index(turn.modality)])] = layout.vocabulary.mask
                    other = full_logits(self.model, Canvas(layout, without, canvas.given))
                    passes.append(_full_pass(now, guided=len(tokens)))
                    guided = logits + turn.weight[:, None, None].to(logits) * (logits - other)
                drawn, log_probability = draw(_restricted(guided, now), fine(uniform[index]), own.temperature, own.top_p)
                masked = now.masked[:, where]
                place = torch.arange(masked.shape[1], device=device).expand(masked.shape)
                share, order = masked.float().mean(1), uniform[index, 1][:, where]
                proposal = Proposal(place, ~masked, drawn[:, where], log_probability[:, where], share, order)
                for row in range(len(tokens)):
                    if turn.reveal is not None:
                        best = turn.reveal[row].nonzero()[:, 0]
                    else:
                        assert turn.keep is not None
                        count = max(0, int(masked[row].sum().item()) - int(turn.keep[row].item()))
                        rank = RANKS[own.order](proposal, own)[row].masked_fill(~masked[row], -torch.inf)
                        best = rank.topk(count).indices
                    tokens[row, where.start + best] = _ids(drawn[row, where.start + best], layout)
        refuse_broken(flags)
        return Canvas(layout, tokens, canvas.given), passes


def falling(total: int, steps: int) -> list[int]:
    r"""How many of `total` tokens are masked after each step: increments follow arccos(1 - s), at least one a step.

    \int_{1-s}^1 arccos(x) dx = \sqrt{1 - (1 - s)^2} - (1 - s) arccos(1 - s), and 1 for s = 1.
    """

    def revealed(s: float) -> float:
        return math.sqrt(1 - (1 - s) ** 2) - (1 - s) * math.acos(1 - s)

    left, result = total, []
    for index in range(steps):
        share = revealed((index + 1) / steps) - revealed(index / steps)
        left = max(0, left - max(1, int(total * share)))
        result.append(left)
    return [*result[:-1], 0] if result else []


def full_logits(model: MeDiMModel, canvas: Canvas) -> torch.Tensor:
    """Logits of every position over all text ids and all image codes, (B, L, text + codes), in float32."""
    hidden = model.hidden(canvas.tokens, canvas.masked_fraction())
    return torch.cat([model.logits(hidden, "report"), model.logits(hidden, "image")], dim=-1).float()


def _restricted(logits: torch.Tensor, canvas: Canvas) -> torch.Tensor:
    """The other modality's ids made impossible at every position."""
    layout = canvas.layout
    is_image = torch.zeros(layout.length, dtype=torch.bool, device=logits.device)
    is_image[layout.image] = True
    is_text = torch.arange(logits.shape[-1], device=logits.device) < layout.vocabulary.text
    return logits.masked_fill(is_image[:, None] == is_text, -torch.inf)


def _ids(drawn: torch.Tensor, layout: Any) -> torch.Tensor:
    """Columns of `full_logits` as ids."""
    text = layout.vocabulary.text
    return torch.where(drawn < text, drawn, drawn - text + layout.vocabulary.image_offset)


def _full_pass(canvas: Canvas, guided: int) -> Pass:
    rows, length = canvas.tokens.shape
    return Pass(rows, guided, length, length, rows * length, rows * length)


def _check(settings: SamplerSettings) -> None:
    """Raises UserError for a sampler that the public practice does not know."""
    for modality in MODALITIES:
        own = settings.of(modality)
        if own.order in ("threshold", "ancestral", "first-hitting") or own.length:
            what = f"length {own.length}" if own.length else f"order '{own.order}'"
            raise UserError(f"{modality}: the baseline of public practice has no {what}; leave it out, or --baselines")
