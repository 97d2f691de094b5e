"""One round of revealing, as pure functions of logits, canvas and uniform random numbers."""

import math

import torch

from medim.canvas import Canvas, Modality
from medim.sampling.settings import ModalitySettings


def nucleus(probability: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest set of ids that holds `top_p` of each row (n, V); the rest is set to 0. Rows no longer sum to one."""
    if top_p >= 1:
        return probability
    ordered, index = probability.sort(dim=-1, descending=True)
    beyond = ordered.cumsum(-1) - ordered >= top_p
    return probability.scatter(-1, index, ordered.masked_fill(beyond, 0))


def draw(logits: torch.Tensor, uniform: torch.Tensor, temperature: float, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens drawn by inverse transform, one uniform number each.

    Args:
        logits: shape (n, V).
        uniform: in [0, 1), shape (n,).

    Returns:
        tokens (n,), and their log-probability at temperature 1 (n,): the confidence of MaskGIT.
    """
    log_probability = logits.float().log_softmax(-1)
    probability = nucleus((log_probability / temperature).softmax(-1), top_p)
    cumulative = probability.cumsum(-1)
    # A draw strictly above the last mass would fall off the end; clamping to the largest possible id keeps it inside.
    target = uniform[:, None] * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    tokens = torch.where(probability.gather(-1, tokens[:, None])[:, 0] > 0, tokens, probability.argmax(-1))
    return tokens, log_probability.gather(-1, tokens[:, None])[:, 0]


def remaining(settings: ModalitySettings, progress: float, total: torch.Tensor) -> torch.Tensor:
    """How many of `total` (B,) tokens stay masked at `progress` in [0, 1] of the modality's own trajectory."""
    share = math.floor(progress * settings.steps + 1e-6) / settings.steps
    fraction = math.cos(math.pi / 2 * share) if settings.schedule == "cosine" else 1 - share
    return torch.floor(total * fraction + 1e-6).long() if share < 1 else torch.zeros_like(total)


def reveal(
    canvas: Canvas,
    modality: Modality,
    logits: torch.Tensor,
    keep_masked: torch.Tensor,
    uniform: torch.Tensor,
    settings: ModalitySettings,
) -> Canvas:
    """Draws a token at every masked position of a modality and keeps the best, so that `keep_masked` stay masked.

    Args:
        logits: at the masked positions of the modality, in row-major order; shape (n, V).
        keep_masked: shape (B,).
        uniform: in [0, 1), shape (2, B, N): for the tokens and for the order.
    """
    vocabulary = canvas.layout.vocabulary
    where = canvas.layout.of(modality)
    masked = canvas.masked[:, where]  # (B, N)
    drawn, confidence = draw(logits, uniform[0][masked], settings.temperature, settings.top_p)
    rank = torch.full(masked.shape, -torch.inf, device=masked.device)
    if settings.order == "random":
        rank[masked] = uniform[1][masked]
    else:
        gumbel = -torch.log(-torch.log(uniform[1][masked].clamp(1e-9, 1 - 1e-7)))
        share = masked.float().mean(1, keepdim=True).expand(masked.shape)[masked]
        rank[masked] = confidence + settings.confidence_noise * share * gumbel
    count = (masked.sum(1) - keep_masked).clamp(min=0)  # (B,)
    place = rank.argsort(dim=1, descending=True).argsort(dim=1)
    chosen = masked & (place < count[:, None])
    ids = torch.zeros(masked.shape, dtype=torch.long, device=masked.device)
    ids[masked] = vocabulary.image_ids(drawn) if modality == "image" else drawn
    tokens = canvas.tokens.clone()
    tokens[:, where] = torch.where(chosen, ids, tokens[:, where])
    return Canvas(canvas.layout, tokens, canvas.given)
