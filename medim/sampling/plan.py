r"""What each round of a trajectory does, as far as it is independent of the model's output.
How many tokens are revealed when, which ones in a planned order, which are masked again. Known beforehand, it costs the loop no
synchronisation with the device, and logits are computed only where a token will be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from medim.canvas import MODALITIES, Layout, Modality
from medim.common.errors import UserError
from medim.sampling.settings import ModalitySettings, SamplerSettings
from medim.sampling.step import RANKS, fraction, remaining


@dataclass(frozen=True)
class Turn:
    """What a round does to one modality."""

    modality: Modality
    requested: torch.Tensor  # number of places whose logits each row needs, (B,); stays on the CPU, as `changed`
    changed: torch.Tensor  # number of positions that change in each row, (B,)
    # of guidance (B,), or None: not guided, or nothing of the other modality is known yet in any row
    weight: torch.Tensor | None
    keep: torch.Tensor | None = None  # masked positions after the round (B,), for an order by the model's output
    reveal: torch.Tensor | None = None  # positions to reveal (B, N), for a planned order
    remask: torch.Tensor | None = None  # positions to mask again (B, N), or None
    certain: bool = True  # False where `requested` and `changed` are upper bounds

    @property
    def room(self) -> int:
        """K, the most places that any row reads; 0 where the round only masks again."""
        return int(self.requested.max())

    def places(self, masked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions (B, K) within the modality that the round reads, and which of them are idle; `masked` is (B, N)."""
        wanted = self.reveal
        if wanted is None:  # a row that reveals nothing in this round reads nothing
            assert self.keep is not None
            wanted = masked & (masked.sum(1) > self.keep)[:, None] if self.certain else masked
        place = wanted.int().argsort(dim=1, descending=True, stable=True)[:, : self.room]
        return place, ~wanted.gather(1, place)

    def to(self, device: torch.device) -> "Turn":
        parts = {name: getattr(self, name) for name in ("weight", "keep", "reveal", "remask")}
        return replace(self, **{name: part.to(device) for name, part in parts.items() if part is not None})


@dataclass(frozen=True)
class Round:
    """At most one forward; `index` selects its random numbers, and each modality has at most one turn."""

    index: int
    turns: tuple[Turn, ...]

    def to(self, device: torch.device) -> "Round":
        return Round(self.index, tuple(turn.to(device) for turn in self.turns))


def active(layout: Layout, vacant: torch.Tensor) -> list[Modality]:
    """The modalities that some row (B, L) has to generate."""
    return [m for m in MODALITIES if bool(vacant[:, layout.of(m)].any())]


def rounds_of(layout: Layout, vacant: torch.Tensor, settings: SamplerSettings) -> int:
    """How many rounds a trajectory has.
    Raises UserError: one of two vacant modalities is revealed by first hitting and the other is not."""
    orders = {settings.of(m).order for m in active(layout, vacant)}
    if orders == {"first-hitting"}:
        return int(vacant.sum(1).max())
    if "first-hitting" in orders:
        raise UserError("order 'first-hitting' goes through both modalities at once: set image.order and report.order to it")
    return max((settings.of(m).steps for m in active(layout, vacant)), default=0)


def plan(layout: Layout, vacant: torch.Tensor, settings: SamplerSettings, uniform: torch.Tensor) -> list[Round]:
    """The rounds in which something happens. `vacant`: True where a token is to be generated, (B, L); every row has the same
    modalities to generate. `uniform`: of `noise`, shape (rounds, 3, B, L); all on the CPU."""
    modalities = active(layout, vacant)
    if not modalities:
        return []
    if settings.of(modalities[0]).order == "first-hitting":
        return _by_hitting_times(layout, vacant, modalities, settings, uniform)
    joint, rounds = len(modalities) == len(MODALITIES), len(uniform)
    states = {m: _State(settings.of(m), vacant[:, layout.of(m)], joint, rounds) for m in modalities}
    result = []
    for index in range(rounds):
        informed = {m: not joint or states[_other(m)].started for m in modalities}
        turns = [states[m].turn(m, index, uniform[index, 1][:, layout.of(m)], informed[m], rounds) for m in modalities]
        if any(turns):
            result.append(Round(index, tuple(turn for turn in turns if turn is not None)))
    return result


def weight(settings: ModalitySettings, progress: torch.Tensor) -> torch.Tensor:
    """Weight of guidance at `progress` (B,) in [0, 1) of the modality's trajectory."""
    inside = (progress >= settings.guidance_start) & (progress < settings.guidance_stop)
    share = (progress - settings.guidance_start) / (settings.guidance_stop - settings.guidance_start)
    ramp = {"constant": torch.ones_like(share), "rising": share, "falling": 1 - share}[settings.guidance_ramp]
    return torch.where(inside, settings.guidance * ramp, 0.0)


def _weight(settings: ModalitySettings, progress: torch.Tensor, informed: bool) -> torch.Tensor | None:
    result = weight(settings, progress)
    return result if informed and bool((result > 0).any()) else None


class _State:
    """How far one modality has come in the plan."""

    def __init__(self, settings: ModalitySettings, vacant: torch.Tensor, joint: bool, rounds: int) -> None:
        self.settings, self.vacant, self.masked = settings, vacant, vacant.clone()
        self.left = vacant.sum(1)  # masked positions, exactly or (threshold) at most
        self.total, self.level = self.left.clone(), 1.0
        self.window = (settings.start, settings.stop) if joint else (0.0, 1.0)
        self.started = bool((~vacant).any())

    def progress(self, done: float) -> float:
        start, stop = self.window
        return min(max((done - start) / (stop - start), 0.0), 1.0)

    def turn(self, modality: Modality, index: int, uniform: torch.Tensor, informed: bool, rounds: int) -> Turn | None:
        settings, after = self.settings, self.progress((index + 1) / rounds)
        guidance = _weight(
            settings, torch.full((len(self.left),), self.progress(index / rounds), dtype=torch.float64), informed
        )
        if settings.order == "ancestral":
            return self._by_chance(modality, fraction(settings, after), uniform, guidance)
        keep = remaining(settings, after, self.total)
        if settings.order == "threshold" and after > 0:
            keep = torch.minimum(keep, (self.left - 1).clamp(min=0))
        if not (self.left > keep).any():
            return None
        self.started = True
        if settings.order in RANKS:
            requested, certain = self.left, settings.order != "threshold"
            self.left = torch.minimum(self.left, keep)
            changed = requested - self.left if certain else requested
            return Turn(modality, torch.where(changed > 0, requested, 0), changed, guidance, keep=keep, certain=certain)
        count = (self.left - keep).clamp(min=0)
        rank = _rank(settings, self.masked, uniform).masked_fill(~self.masked, -torch.inf)
        reveal = self.masked & (rank.argsort(dim=1, descending=True).argsort(dim=1) < count[:, None])
        self.masked, self.left = self.masked & ~reveal, self.left - count
        return Turn(modality, count, count, guidance, reveal=reveal)

    def _by_chance(self, modality: Modality, level: float, uniform: torch.Tensor, guidance: torch.Tensor | None) -> Turn | None:
        r"""The reverse process from noise level t to s: with \alpha = 1 - t,
        masked -> revealed with probability (\alpha_s - (1 - \sigma) \alpha_t) / (1 - \alpha_t), revealed -> masked with
        probability \sigma <= (1 - \alpha_s) / \alpha_t (ReMDM; \sigma = 0: ancestral sampling)."""
        t, s, settings = self.level, level, self.settings
        if s >= t:
            return None
        largest = min(1.0, s / (1 - t)) if t < 1 else 0.0
        sigma = {"none": 0.0, "cap": min(settings.remask_rate, largest), "rescale": settings.remask_rate * largest}[
            settings.remask
        ]
        reveal = self.masked & (uniform < ((1 - s) - (1 - sigma) * (1 - t)) / t)
        remask = self.vacant & ~self.masked & (uniform < sigma)
        if s == 0:
            reveal, remask = self.masked, torch.zeros_like(remask)
        self.level, self.masked = s, (self.masked & ~reveal) | remask
        changed = (reveal | remask).sum(1)
        if not changed.any():
            return None
        self.started = True
        return Turn(modality, reveal.sum(1), changed, guidance, reveal=reveal, remask=remask if remask.any() else None)


def _other(modality: Modality) -> Modality:
    return "report" if modality == "image" else "image"


def _rank(settings: ModalitySettings, masked: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Planned orders (B, N): larger is revealed first."""
    positions = masked.shape[1]
    if settings.order == "random":
        return uniform
    if settings.order == "left":
        return -torch.arange(positions, dtype=torch.float32).expand(masked.shape)
    side = round(positions**0.5)
    if side * side != positions:
        raise UserError(f"order 'halton' needs a square image; this one has {positions} tokens")
    rank = torch.empty(positions)
    rank[torch.tensor(halton_order(side))] = -torch.arange(positions, dtype=torch.float32)
    return rank.expand(masked.shape)


def _by_hitting_times(
    layout: Layout, vacant: torch.Tensor, modalities: Sequence[Modality], settings: SamplerSettings, uniform: torch.Tensor
) -> list[Round]:
    r"""One token a round, at the times at which the reverse process first leaves MASK.
    A masked token is revealed at a time uniform in [0, 1] (log-linear noise), independent of the others: with n masked tokens
    the next one comes at \tau u^{1/n}, any of them (eq. 12 of the paper). So all times are drawn at once and sorted."""
    when = torch.full(vacant.shape, torch.inf)
    for m in modalities:
        where = layout.of(m)
        start, stop = (settings.of(m).start, settings.of(m).stop) if len(modalities) == len(MODALITIES) else (0.0, 1.0)
        when[:, where] = start + (stop - start) * uniform[0, 1][:, where]
    when = when.masked_fill(~vacant, torch.inf)
    order = when.argsort(dim=1)  # (B, L)
    totals, known = vacant.sum(1), {m: ~vacant[:, layout.of(m)] for m in MODALITIES}
    result = []
    for index in range(len(uniform)):
        event = torch.zeros_like(vacant).scatter_(1, order[:, index : index + 1], (index < totals)[:, None])
        turns = []
        for m in modalities:
            reveal = event[:, layout.of(m)]
            if not reveal.any():
                continue
            open_ = vacant[:, layout.of(m)]
            progress = (known[m] & open_).sum(1) / open_.sum(1).clamp(min=1)
            informed = bool(known[_other(m)].any())
            count = reveal.sum(1)
            turns.append(Turn(m, count, count, _weight(settings.of(m), progress.double(), informed), reveal=reveal))
        for turn in turns:
            assert turn.reveal is not None
            known[turn.modality] = known[turn.modality] | turn.reveal
        result.append(Round(index, tuple(turns)))
    return result


@cache
def halton_order(side: int) -> tuple[int, ...]:
    """Positions of a `side` x `side` raster in the order of the Halton sequence (bases 2, 3): any first few are evenly spread.
    Besnier et al. 2025, arXiv 2503.17076."""
    order: dict[int, None] = {}
    start = 1
    while len(order) < side * side:
        index = np.arange(start, start + 4 * side * side)
        row = np.floor(radical_inverse(index, 2) * side).astype(int)
        column = np.floor(radical_inverse(index, 3) * side).astype(int)
        order.update(dict.fromkeys((row * side + column).tolist()))
        start += len(index)
    return tuple(order)


def radical_inverse(index: np.ndarray, base: int) -> np.ndarray:
    """The digits of each index in `base`, mirrored at the point: a number in [0, 1)."""
    result, scale, rest = np.zeros(len(index)), 1.0, index.copy()
    while rest.any():
        scale /= base
        result += scale * (rest % base)
        rest //= base
    return result
