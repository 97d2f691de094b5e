r"""One round of revealing, as pure functions of logits, canvas and uniform random numbers.
Nothing here waits for the device: shapes are known beforehand, and what depends on data is chosen by `torch.where`. A round
reads K places of each row; where a row has fewer, the rest of its K are `idle` and never change."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medim.canvas import Canvas, Modality
from medim.common.streams import stream
from medim.sampling.settings import ModalitySettings

GRID = 2.0**-24  # step of a float32 in [0, 1): too coarse to draw among 262,000 ids


def noise(seeds: Sequence[int], rounds: int, positions: int) -> torch.Tensor:
    """Uniform numbers (rounds, 3, B, positions), each sample's from its seed: the same in any batch.
    Those of a round are for the tokens, for the order, and the digits of the former below `GRID` (see `fine`)."""
    draws = np.stack([stream(seed).random((rounds, 2, positions), dtype=np.float32) for seed in seeds], axis=2)
    below = np.stack([stream(seed, 6).random((rounds, 1, positions), dtype=np.float32) for seed in seeds], axis=2)
    return torch.from_numpy(np.concatenate([draws, below], axis=1))


def fine(uniform: torch.Tensor) -> torch.Tensor:
    """The numbers for the tokens of one round, float64, of `noise` (3, ...); they lie on a grid of 2^-48."""
    return wide(uniform[0]) + GRID * wide(uniform[2])


def wide(numbers: torch.Tensor) -> torch.Tensor:
    """In float64; on the CPU where the device has none."""
    return (numbers.cpu() if numbers.device.type == "mps" else numbers).double()


@dataclass(frozen=True)
class Proposal:
    """A token drawn for each place that a round reads."""

    idle: torch.Tensor  # True where there is nothing to reveal, (B, K)
    drawn: torch.Tensor  # ids local to the modality, (B, K)
    log_probability: torch.Tensor  # of every id at temperature 1, (B, K, V)
    share: torch.Tensor  # of the modality's positions that are masked, (B,)
    uniform: torch.Tensor  # in [0, 1), for the order, (B, K)

    @property
    def confidence(self) -> torch.Tensor:
        """log p of what was drawn, (B, K)."""
        return self.log_probability.gather(-1, self.drawn[..., None])[..., 0]


def gumbel(uniform: torch.Tensor) -> torch.Tensor:
    """Gumbel noise of uniform numbers in [0, 1)."""
    return -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))


def confidence(proposal: Proposal, settings: ModalitySettings) -> torch.Tensor:
    """MaskGIT: log p(drawn), with Gumbel noise that fades with the masked share."""
    return proposal.confidence + settings.confidence_noise * proposal.share[:, None] * gumbel(proposal.uniform)


def margin(proposal: Proposal, settings: ModalitySettings) -> torch.Tensor:
    """Probability of the first choice less that of the second (Kim et al. 2025, arXiv 2502.06768)."""
    best = proposal.log_probability.topk(min(2, proposal.log_probability.shape[-1]), dim=-1).values.exp()
    return best[..., 0] - best[..., -1] if best.shape[-1] > 1 else best[..., 0]


def entropy(proposal: Proposal, settings: ModalitySettings) -> torch.Tensor:
    r"""\sum p log p: the more certain, the larger."""
    return torch.xlogy(proposal.log_probability.exp(), proposal.log_probability.exp()).sum(-1)


def threshold(proposal: Proposal, settings: ModalitySettings) -> torch.Tensor:
    """log p(drawn), without noise."""
    return proposal.confidence


Rank = Callable[[Proposal, ModalitySettings], torch.Tensor]
RANKS: dict[str, Rank] = {"confidence": confidence, "margin": margin, "entropy": entropy, "threshold": threshold}
"""Orders by the model's output: larger is revealed first. The others are planned: see `medim.sampling.plan`."""


def nucleus(probability: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest set of ids that holds `top_p` of each row (n, V); the rest is set to 0. Rows no longer sum to one."""
    if top_p >= 1:
        return probability
    ordered, index = probability.sort(dim=-1, descending=True)
    beyond = ordered.cumsum(-1) - ordered >= top_p
    return probability.scatter(-1, index, ordered.masked_fill(beyond, 0))


def draw(logits: torch.Tensor, uniform: torch.Tensor, temperature: float, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens drawn by inverse transform, one uniform number each, in float64: a float32 loses the ids of a long tail. `logits`:
    shape (..., V). `uniform`: in [0, 1), shape (...). Returns tokens (...), and the log-probability of every id at temperature
    1 (..., V)."""
    log_probability = logits.float().log_softmax(-1)
    probability = nucleus(wide((log_probability / temperature).softmax(-1)), top_p)
    cumulative = probability.cumsum(-1)
    target = wide(uniform)[..., None] * cumulative[..., -1:]
    tokens = torch.searchsorted(cumulative, target, right=True)[..., 0].clamp(max=logits.shape[-1] - 1)
    tokens = torch.where(probability.gather(-1, tokens[..., None])[..., 0] > 0, tokens, probability.argmax(-1))
    return tokens.to(logits.device), log_probability


def fraction(settings: ModalitySettings, progress: float) -> float:
    """Share of the modality's vacant tokens that is masked at `progress` in [0, 1] of its trajectory."""
    share = math.floor(progress * settings.steps + 1e-6) / settings.steps
    if share >= 1:
        return 0.0
    return math.cos(math.pi / 2 * share) if settings.schedule == "cosine" else 1 - share


def remaining(settings: ModalitySettings, progress: float, total: torch.Tensor) -> torch.Tensor:
    """How many of `total` (B,) tokens stay masked at `progress` in [0, 1] of the modality's trajectory."""
    return torch.floor(total * fraction(settings, progress) + 1e-6).long()


def step(
    canvas: Canvas,
    modality: Modality,
    place: torch.Tensor,
    idle: torch.Tensor,
    logits: torch.Tensor,
    keep: torch.Tensor | None,
    uniform: torch.Tensor,
    settings: ModalitySettings,
) -> Canvas:
    """Draws a token at each place and reveals all of them, or the best, so that `keep` positions stay masked.
    `place`: positions within the modality, distinct in each row, (B, K).
    `idle`: True where there is nothing to reveal, (B, K).
    `logits`: shape (B, K, V).
    `keep`: masked positions of the modality after the round, (B,); None where all places are to be revealed.
    `uniform`: of `noise`, shape (3, B, N) for the N positions of the modality."""
    where = canvas.layout.of(modality)
    before = canvas.tokens[:, where]  # (B, N)
    numbers = uniform.gather(2, place.expand(len(uniform), -1, -1))
    drawn, log_probability = draw(logits, fine(numbers), settings.temperature, settings.top_p)
    chosen = ~idle
    if keep is not None:
        masked = before == canvas.layout.vocabulary.mask
        proposal = Proposal(idle, drawn, log_probability, masked.float().mean(1), numbers[1])
        fewest = int(settings.order == "threshold")
        chosen = best(proposal, (masked.sum(1) - keep).clamp(min=fewest), settings)
    ids = torch.where(chosen, canvas.layout.ids(drawn, modality), before.gather(1, place))
    tokens = canvas.tokens.clone()
    tokens[:, where] = before.scatter(1, place, ids)
    return Canvas(canvas.layout, tokens, canvas.given)


def best(proposal: Proposal, count: torch.Tensor, settings: ModalitySettings) -> torch.Tensor:
    """Places to reveal, (B, K): the `count` (B,) of highest rank, and for `threshold` all that are likely enough."""
    rank = RANKS[settings.order](proposal, settings).masked_fill(proposal.idle, -torch.inf)
    place = rank.argsort(dim=1, descending=True).argsort(dim=1)
    chosen = place < count[:, None]
    if settings.order == "threshold":
        least = math.log(settings.threshold) if settings.threshold > 0 else -math.inf
        chosen = chosen | (proposal.confidence >= least)
    return chosen & ~proposal.idle
