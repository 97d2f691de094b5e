"""The loop: one forward a round, both modalities revealed from it, until nothing is masked."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch

from medim.canvas import MODALITIES, Canvas, Modality
from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.sampling.ancestral import ancestral
from medim.sampling.autoregressive import from_the_left
from medim.sampling.cache import hidden_states
from medim.sampling.countdown import Countdown
from medim.sampling.ending import Ending
from medim.sampling.forward import Ask, Denoiser, Pass, account, broken, read, refuse_broken
from medim.sampling.noise import noise
from medim.sampling.plan import active, plan, rounds_of
from medim.sampling.released import released
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import step


@dataclass(frozen=True)
class Decoded:
    """A finished canvas and what it cost.

    Attributes:
        canvas: nothing masked.
        forwards: passes through the model that each sample took part in, the most of any sample.
        seconds: wall time of the loop.
        passes: what each pass computed; a batch of samples with different modalities given has those of each kind.
    """

    canvas: Canvas
    forwards: int
    seconds: float
    passes: tuple[Pass, ...]


@torch.no_grad()
def decode(
    model: Denoiser, canvas: Canvas, settings: SamplerSettings, seeds: Sequence[int], ending: Ending | None = None
) -> Decoded:
    """Fills a canvas.

    Masked diffusion is fed the true masked fraction of each modality as its time (B, 2); other noise, its level. A modality
    that is given entirely costs nothing; when both are generated, each is revealed in its own part of the trajectory (`start`,
    `stop`). A sample depends on its own row and seed, not on the rows beside it.

    Args:
        seeds: one for each sample.
        ending: ids that end a report: no end is drawn before a given word, and padding follows the end. Without it the
            report's positions are like any others.

    Raises:
        UserError: settings that this model or this canvas cannot obey; logits that are no numbers (`NotFiniteError`).
    """
    started = time.perf_counter()
    refuse(model, settings)
    if settings.report.length:
        if ending is None:
            raise ValueError("report.length needs to know the ids that end a report")
        canvas = ending.ask(canvas, settings.report.length)
    vacant = canvas.masked.cpu()
    kinds = torch.stack([vacant[:, canvas.layout.of(m)].any(1) for m in MODALITIES], dim=1).tolist()
    tokens, passes, forwards = canvas.tokens.clone(), [], 0
    for kind in sorted({tuple(k) for k in kinds}):  # at most four; one for all that the pipeline asks of a batch
        rows = torch.tensor([index for index, k in enumerate(kinds) if tuple(k) == kind])
        here = rows.to(canvas.tokens.device)
        part = Canvas(canvas.layout, canvas.tokens[here], canvas.given[here])
        own = [seeds[int(row)] for row in rows]
        if model.config.objective == "autoregressive" or model.config.transition != "absorbing":
            walk = from_the_left if model.config.objective == "autoregressive" else ancestral
            filled, cost = walk(cast(MeDiMModel, model), part, settings, own, ending)
        elif settings.procedure == "released":
            filled, cost = released(model, part, settings.released, own, ending)
        else:
            filled, cost = _masked_diffusion(model, part, vacant[rows], settings, own, ending)
        tokens[here] = filled.tokens
        passes += cost
        forwards = max(forwards, len(cost))
    done = Canvas(canvas.layout, tokens, canvas.given)
    return Decoded(done if ending is None else ending.trim(done), forwards, time.perf_counter() - started, tuple(passes))


def refuse(model: Denoiser, settings: SamplerSettings) -> None:
    """Raises UserError for what only masked diffusion can do, where the model is another."""
    if model.config.objective != "autoregressive" and model.config.transition == "absorbing":
        return
    what = "an autoregressive model" if model.config.objective == "autoregressive" else "this noise"
    if settings.procedure == "released":
        raise UserError(f"procedure: 'released' fills what is masked, and {what} has no mask: set it to own")
    for modality in MODALITIES:
        own = settings.of(modality)
        if own.guidance:
            raise UserError(f"{modality}.guidance: {what} is not guided: set it to 0")
        if own.remask != "none":
            raise UserError(f"{modality}.remask: {what} has no mask to go back to: set it to none")
    if settings.cache.refresh > 1:
        raise UserError(f"cache.refresh: {what} is computed anew in every round: set it to 1")


def _masked_diffusion(
    model: Denoiser,
    canvas: Canvas,
    vacant: torch.Tensor,
    settings: SamplerSettings,
    seeds: Sequence[int],
    ending: Ending | None,
) -> tuple[Canvas, list[Pass]]:
    """Rows that have the same modalities to generate. Between the plan and the end nothing waits for the device."""
    layout, device = canvas.layout, canvas.tokens.device
    kinds = [settings.of(m) for m in active(layout, vacant)]
    if settings.cache.refresh > 1 and len(kinds) == 2 and any(k.order == "first-hitting" and k.guidance for k in kinds):
        reason = "which passes are guided would follow from the batch"
        raise UserError(f"cache.refresh above 1 is not for guided pairs in order 'first-hitting' ({reason}); set it to 1")
    uniform = noise(seeds, rounds_of(layout, vacant, settings), layout.length)
    rounds = [entry.to(device) for entry in plan(layout, vacant, settings, uniform)]
    uniform = uniform.to(device)
    barred = None if ending is None else ending.bars(canvas, settings.report.length)
    early = Countdown() if any(k.order == "threshold" for k in kinds) and all(k.remask == "none" for k in kinds) else None
    passes: list[Pass] = []
    flags: list[torch.Tensor] = []
    changed = nothing = torch.zeros(len(vacant), dtype=torch.long)  # positions of each row, since the pass before
    with hidden_states(model, settings.cache) as states:
        for entry in rounds:
            turns = [turn for turn in entry.turns if turn.room]
            if early is not None and early.finished(canvas, [turn.modality for turn in turns]):
                turns = []
            masked = canvas.masked
            places = [turn.places(masked[:, layout.of(turn.modality)]) for turn in turns]
            asks = [Ask(turn.modality, place, turn.weight, idle) for turn, (place, idle) in zip(turns, places, strict=True)]
            if asks:
                hidden, queries = states(canvas, asks, entry, changed)
                passes.append(account(canvas, asks, queries))
                logits, changed = read(model, canvas, hidden, asks), nothing
                flags += map(broken, logits.values())
                for turn, (place, idle) in zip(turns, places, strict=True):
                    modality, own = turn.modality, logits[turn.modality]
                    if modality == "report" and ending is not None and barred is not None:
                        own = ending.forbid(own, barred.gather(1, place))
                    numbers = uniform[entry.index][:, :, layout.of(modality)]
                    canvas = step(canvas, modality, place, idle, own, turn.keep, numbers, settings.of(modality))
            for turn in entry.turns:
                if turn.remask is not None:
                    canvas = _mask_again(canvas, turn.modality, turn.remask)
                changed = changed + turn.changed
    refuse_broken(flags)
    return canvas, passes


def _mask_again(canvas: Canvas, modality: Modality, remask: torch.Tensor) -> Canvas:
    tokens, where = canvas.tokens.clone(), canvas.layout.of(modality)
    tokens[:, where] = tokens[:, where].masked_fill(remask, canvas.layout.vocabulary.mask)
    return Canvas(canvas.layout, tokens, canvas.given)
