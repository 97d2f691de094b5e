"""The loop: one forward a round, both modalities revealed from it, until nothing is masked."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from transformers import DynamicCache

from medim.canvas import MODALITIES, Canvas, Modality
from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.sampling.ancestral import ancestral
from medim.sampling.cache import hidden_states
from medim.sampling.ending import Ending
from medim.sampling.forward import Denoiser, Pass, Request, account, non_finite, read, refuse_non_finite
from medim.sampling.plan import active, plan, rounds_of
from medim.sampling.released import released
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import draw, fine, noise, step


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


@dataclass(frozen=True)
class Decoded:
    """A finished canvas and what it cost."""

    canvas: Canvas  # nothing masked
    forwards: int  # most passes of any sample
    seconds: float  # wall time of the loop
    passes: tuple[Pass, ...]  # what each computed


@torch.no_grad()
def decode(
    model: Denoiser, canvas: Canvas, settings: SamplerSettings, seeds: Sequence[int], ending: Ending | None = None
) -> Decoded:
    """Fills a canvas.

    Masked diffusion is fed the true masked fraction of each modality as its time (B, 2); other noise, its level. A modality
    that is given entirely costs nothing; when both are generated, each is revealed in its part of the trajectory (`start`,
    `stop`). A sample depends on its row and seed alone.

    Args:
        seeds: one for each sample.
        ending: ids that end a report: no end is drawn before a given word, and padding follows the end. None treats report
            positions like any others.

    Raises UserError: settings that do not suit this model or canvas; logits that are not finite.
    """
    started = time.perf_counter()
    refuse(model, settings)
    if settings.report.length:
        if ending is None:
            raise ValueError("report.length needs to know the ids that end a report")
        canvas = ending.at_length(canvas, settings.report.length)
    vacant = canvas.masked.cpu()
    kinds = torch.stack([vacant[:, canvas.layout.of(m)].any(1) for m in MODALITIES], dim=1).tolist()
    tokens, passes, forwards = canvas.tokens.clone(), [], 0
    for kind in sorted({tuple(k) for k in kinds}):  # at most four
        rows = torch.tensor([index for index, k in enumerate(kinds) if tuple(k) == kind])
        here = rows.to(canvas.tokens.device)
        part = Canvas(canvas.layout, canvas.tokens[here], canvas.given[here])
        row_seeds = [seeds[int(row)] for row in rows]
        if model.config.objective == "autoregressive" or model.config.transition != "absorbing":
            walk = from_the_left if model.config.objective == "autoregressive" else ancestral
            filled, cost = walk(cast(MeDiMModel, model), part, settings, row_seeds, ending)
        elif settings.procedure == "released":
            filled, cost = released(model, part, settings.released, row_seeds, ending)
        else:
            filled, cost = _masked_diffusion(model, part, vacant[rows], settings, row_seeds, ending)
        tokens[here] = filled.tokens
        passes += cost
        forwards = max(forwards, len(cost))
    done = Canvas(canvas.layout, tokens, canvas.given)
    return Decoded(done if ending is None else ending.trim(done), forwards, time.perf_counter() - started, tuple(passes))


def refuse(model: Denoiser, settings: SamplerSettings) -> None:
    """Raises UserError for settings that only masked diffusion has, where the model is another."""
    if model.config.objective != "autoregressive" and model.config.transition == "absorbing":
        return
    what = "an autoregressive model" if model.config.objective == "autoregressive" else "this noise"
    if settings.procedure == "released":
        raise UserError(f"procedure: 'released' fills what is masked, and {what} has no mask: set it to own")
    for modality in MODALITIES:
        chosen = settings.of(modality)
        if chosen.guidance:
            raise UserError(f"{modality}.guidance: {what} is not guided: set it to 0")
        if chosen.remask != "none":
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
    """Rows that have the same modalities to generate; nothing waits for the device but `Countdown` and the end."""
    layout, device = canvas.layout, canvas.tokens.device
    kinds = [settings.of(m) for m in active(layout, vacant)]
    if settings.cache.refresh > 1 and len(kinds) == 2 and any(k.order == "first-hitting" and k.guidance for k in kinds):
        reason = "which passes are guided would follow from the batch"
        raise UserError(f"cache.refresh above 1 is not for guided pairs in order 'first-hitting' ({reason}); set it to 1")
    uniform = noise(seeds, rounds_of(layout, vacant, settings), layout.length)
    rounds = [entry.to(device) for entry in plan(layout, vacant, settings, uniform)]
    uniform = uniform.to(device)
    barred = None if ending is None else ending.barred(canvas, settings.report.length)
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
            requests = [
                Request(turn.modality, place, turn.weight, idle) for turn, (place, idle) in zip(turns, places, strict=True)
            ]
            if requests:
                hidden, queries = states(canvas, requests, entry, changed)
                passes.append(account(canvas, requests, queries))
                logits, changed = read(model, canvas, hidden, requests), nothing
                flags += map(non_finite, logits.values())
                for turn, (place, idle) in zip(turns, places, strict=True):
                    modality, at_places = turn.modality, logits[turn.modality]
                    if modality == "report" and ending is not None and barred is not None:
                        at_places = ending.forbid(at_places, barred.gather(1, place))
                    numbers = uniform[entry.index][:, :, layout.of(modality)]
                    canvas = step(canvas, modality, place, idle, at_places, turn.keep, numbers, settings.of(modality))
            for turn in entry.turns:
                if turn.remask is not None:
                    canvas = _mask_again(canvas, turn.modality, turn.remask)
                changed = changed + turn.changed
    refuse_non_finite(flags)
    return canvas, passes


def _mask_again(canvas: Canvas, modality: Modality, remask: torch.Tensor) -> Canvas:
    tokens, where = canvas.tokens.clone(), canvas.layout.of(modality)
    tokens[:, where] = tokens[:, where].masked_fill(remask, canvas.layout.vocabulary.mask)
    return Canvas(canvas.layout, tokens, canvas.given)


class Countdown:
    """Whether modalities are finished early, without making a GPU wait: its counts are read a round later.
    A round on a finished canvas changes nothing. Not for trajectories in which a token is masked again."""

    def __init__(self) -> None:
        self._waiting: list[tuple[dict[Modality, torch.Tensor], torch.cuda.Event]] = []

    def finished(self, canvas: Canvas, modalities: Iterable[Modality]) -> bool:
        """Whether none of the modalities has anything masked; on a GPU, before the last round."""
        masked = canvas.masked
        counts: dict[Modality, torch.Tensor] = {m: masked[:, canvas.layout.of(m)].sum() for m in ("image", "report")}
        if canvas.tokens.device.type == "cuda":
            copies = {m: torch.empty((), dtype=count.dtype, pin_memory=True) for m, count in counts.items()}
            for m, count in counts.items():
                copies[m].copy_(count, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._waiting.append((copies, event))
            if len(self._waiting) < 2:
                return False
            counts, event = self._waiting.pop(0)
            event.synchronize()
        return all(int(counts[m]) == 0 for m in modalities)
