r"""How many nats a model needs for held-out pairs, under noise that is the same for every model.

The bound is evaluated by the number k of masked tokens among the N target tokens,

    -log p(x) <= E_{k ~ U{1..N}} E_{|M| = k} [ N / k \sum_{i in M} -log p_\theta(x^i | x_{not M}, t) ],

which equals the integral over t of `medim.diffusion.objective` in expectation (Ou et al. 2024, arXiv 2406.03736) and has no
1/t tail. The model is fed the masked fraction of each modality, as in sampling. For noise that does not only mask, the integral
itself is drawn, under the log-linear schedule. An autoregressive model has an exact likelihood and needs no noise.
"""

from collections.abc import Sequence

import torch

from medim.canvas import MODALITIES, Canvas, Layout, Modality
from medim.common.errors import UserError, unknown
from medim.common.streams import GOLDEN, stream
from medim.data.tokens.cache import TokenSplit
from medim.denoiser import MeDiMModel
from medim.diffusion.schedule import SMALLEST_T, LogLinear
from medim.diffusion.transition import transition

CONDITIONS: dict[str, tuple[Modality, ...]] = {
    "joint": ("image", "report"),
    "report|image": ("report",),
    "image|report": ("image",),
}
"""Target modalities; the others are given."""
MARGINALS: dict[str, tuple[Modality, Modality]] = {"report": ("report", "image"), "image": ("image", "report")}
"""One modality alone: the target, and the one that is hidden."""
_REPORT_FIRST = {"joint": False, "report|image": False, "image": False, "image|report": True, "report": True}
"""Which modality an autoregressive model reads first: what is given before the target, what is hidden after it."""


@torch.no_grad()
def likelihood(
    model: MeDiMModel,
    split: TokenSplit,
    condition: str,
    draws: int = 8,
    seed: int = 0,
    limit: int | None = None,
    batch: int = 64,
) -> torch.Tensor:
    """Upper bounds on -log p of each sample of a split, see `conditional_bound`; nats of shape (n, 2) for (image, report).
    `condition`: `joint` bounds -log p(image, report), the sum of its columns; `report|image`, `image|report`; `report` and
    `image` alone bound the marginals. `limit`: first so many samples; all where None."""
    layout = model.config.layout
    count = len(split) if limit is None else min(len(split), limit)
    parts = []
    for start in range(0, count, batch):
        rows = range(start, min(start + batch, count))
        clean = layout.join(split.image[rows.start : rows.stop], split.report[rows.start : rows.stop])
        parts.append(conditional_bound(model, clean, *target_and_hidden(layout, condition, len(rows)), draws, seed, rows))
    return torch.cat(parts)


def target_and_hidden(layout: Layout, condition: str, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of the target positions and of the hidden ones of a condition, (batch, L) each.
    Raises UserError: unknown condition."""
    if condition not in CONDITIONS and condition not in MARGINALS:
        raise unknown("condition of a likelihood", condition, [*CONDITIONS, *MARGINALS])
    target, hidden = torch.zeros(2, layout.length, dtype=torch.bool)
    for modality in CONDITIONS[condition] if condition in CONDITIONS else MARGINALS[condition][:1]:
        target[layout.of(modality)] = True
    if condition in MARGINALS:
        hidden[layout.of(MARGINALS[condition][1])] = True
    return target.expand(batch, -1), hidden.expand(batch, -1)


def conditional_bound(
    model: MeDiMModel,
    clean: torch.Tensor,
    target: torch.Tensor,
    hidden: torch.Tensor,
    draws: int,
    seed: int,
    numbers: Sequence[int],
) -> torch.Tensor:
    """Nats of a bound on -log p(target | positions neither target nor hidden), the mean of `bound_terms`; shape (B, 2)."""
    terms = bound_terms(model, clean, target, hidden, draws, seed, numbers)
    result = torch.zeros(len(clean), 2)
    for term in terms:
        result += term / len(terms)
    return result


@torch.no_grad()
def bound_terms(
    model: MeDiMModel,
    clean: torch.Tensor,
    target: torch.Tensor,
    hidden: torch.Tensor,
    draws: int,
    seed: int,
    numbers: Sequence[int],
) -> list[torch.Tensor]:
    """Stratified draws of the bound, (B, 2) each; of an autoregressive model a single exact one.
    Sample i has k = 1 + floor(N frac(i * golden ratio + j / draws)) of its N target positions masked in draw j, chosen by
    (seed, i, j): two models with the same canvas are compared under identical noise, in any batch.
    `clean`: complete sequences (B, L).
    `target`: True where a token's cost counts, (B, L); a model's `hidden_padding` is given and costs nothing.
    `hidden`: True where a token is masked throughout and costs nothing, (B, L).
    `numbers`: i of each sample.
    Raises UserError: of an autoregressive model, a target that is not a whole modality."""
    layout, process = model.config.layout, model.config.transition
    if model.config.hidden_padding is not None:
        target = target & (clean != model.config.hidden_padding)
    if model.config.objective == "autoregressive":
        for condition, report_first in _REPORT_FIRST.items():
            if all(map(torch.equal, (target, hidden), target_and_hidden(layout, condition, len(clean)))):
                return [_chain_rule(model, clean, target, report_first)]
        raise UserError(f"an autoregressive model scores whole modalities only: {', '.join(_REPORT_FIRST)}")
    corrupt = _masked if process == "absorbing" else _noised
    terms = []
    was_training = model.training
    model.eval()
    free = [row.nonzero()[:, 0] for row in target]
    for j in range(draws):
        drawn = [
            corrupt(clean[n], free[n], hidden[n], layout, process, (i * GOLDEN + j / draws) % 1.0, (seed, 3, i, j))
            for n, i in enumerate(numbers)
        ]
        columns = (clean, *(torch.stack(column) for column in zip(*drawn, strict=True)))
        x, noisy, noised, t, weight = (column.to(model.device) for column in columns)
        terms.append(model(noisy, t, noised, clean=x, alpha=LogLinear().alpha(t), weight=weight).cpu())
    model.train(was_training)
    return terms


@torch.no_grad()
def evidence(
    model: MeDiMModel, clean: torch.Tensor, spans: Sequence[slice], draws: int = 16, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(sentence | image, rest) - log p(sentence | rest) of each sentence, in nats; positive where the image supports it.

    Both terms are estimated by their bounds under the same noise, so the difference is an estimate, not a bound. For an
    autoregressive model the rest is what stands before the sentence, and the differences are exact: over all tokens they add up
    to log p(report | image) - log p(report).

    Args:
        clean: one complete sequence (L,).
        spans: places of the sentences' tokens within the report.

    Returns:
        Differences and their standard errors over draws, each of shape (len(spans),).
    """
    layout = model.config.layout
    report = torch.arange(layout.length)[layout.report]
    targets = torch.zeros(len(spans), layout.length, dtype=torch.bool)
    for row, span in enumerate(spans):
        targets[row, report[span]] = True
    if model.config.objective == "autoregressive":
        sequences = clean.expand(len(spans), -1)
        seen, blind = (_chain_rule(model, sequences, targets, report_first)[:, 1] for report_first in (False, True))
        return blind - seen, torch.zeros(len(spans))
    image = torch.zeros(layout.length, dtype=torch.bool)
    image[layout.image] = True
    sequences, nothing = clean.expand(draws, -1), torch.zeros_like(image)
    differences = []
    for number, target in enumerate(targets):
        # Each draw is a sample with its own number: draw j masks another number of the sentence's tokens.
        numbers = range(number * draws, (number + 1) * draws)
        seen, blind = (
            conditional_bound(model, sequences, target.expand(draws, -1), hidden.expand(draws, -1), 1, seed, numbers)[:, 1]
            for hidden in (nothing, image)
        )
        differences.append(blind - seen)
    table = torch.stack(differences)  # (S, draws)
    return table.mean(1), table.std(1) / draws**0.5


def _chain_rule(model: MeDiMModel, clean: torch.Tensor, target: torch.Tensor, report_first: bool) -> torch.Tensor:
    """-log p of the target positions given all that stands before each, by modality; (B, 2)."""
    was_training = model.training
    model.eval()
    x, noised = clean.to(model.device), target.to(model.device)
    t = torch.zeros(len(clean), 2, device=model.device)
    order = torch.full((len(clean),), report_first, device=model.device)
    nats = model(x, t, noised, clean=x, alpha=1 - t, weight=torch.ones_like(t), report_first=order).cpu()
    model.train(was_training)
    return nats


Noise = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""x_t (L,), positions that the bound sums over (L,), time of each modality (2,), weight of each modality's term (2,)."""


def _masked(
    clean: torch.Tensor, free: torch.Tensor, hidden: torch.Tensor, layout: Layout, process: str, u: float, key: tuple[int, ...]
) -> Noise:
    """1 + floor(N u) of the free positions masked, and what is hidden."""
    k = 1 + int(len(free) * u)
    noisy, noised = clean.clone(), torch.zeros(layout.length, dtype=torch.bool)
    noised[free[torch.from_numpy(stream(*key).permutation(len(free))[:k])]] = True
    noisy[noised | hidden] = layout.vocabulary.mask
    t = Canvas(layout, noisy[None], torch.zeros(1, layout.length, dtype=torch.bool)).masked_fraction()[0]
    return noisy, noised, t, torch.full((2,), len(free) / k)


def _noised(
    clean: torch.Tensor, free: torch.Tensor, hidden: torch.Tensor, layout: Layout, process: str, u: float, key: tuple[int, ...]
) -> Noise:
    """The free positions at time u of the process, and what is hidden at time 1."""
    level = torch.tensor(SMALLEST_T + (1 - SMALLEST_T) * u)
    uniform = torch.from_numpy(stream(*key).random(layout.length))
    noisy, noised, t = clean.clone(), torch.zeros(layout.length, dtype=torch.bool), torch.zeros(2)
    noised[free] = True
    for column, modality in enumerate(MODALITIES):
        where = layout.of(modality)
        levels = level * noised[where] + 1.0 * hidden[where]
        if levels.any():
            noise = transition(process, layout.size(modality))
            z = noise.corrupt(layout.states(clean[where], modality), 1 - levels, uniform[where])
            noisy[where], t[column] = layout.ids(z, modality), levels.max()
    return noisy, noised, t, LogLinear().weight(t)
