r"""How many nats a model needs for held-out pairs: the bound under noise that is the same for every model.

The bound is evaluated by the number k of masked tokens among the N that are not given,

    -log p(x) <= E_{k ~ U{1..N}} E_{|M| = k} [ N / k \sum_{i in M} -log p_\theta(x^i | x_{not M}, t) ],

which equals the integral over t of `medim.diffusion.objective` in expectation (Ou et al. 2024, arXiv 2406.03736) and has no
1/t tail. The model is fed the masked fraction of each modality, as in sampling. Where noise does not (only) mask, there is no
such number and the integral itself is drawn, under the log-linear schedule.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from medim.canvas import MODALITIES, Canvas, Layout, Modality
from medim.common.errors import UserError, unknown
from medim.common.streams import GOLDEN, stream
from medim.data.tokens.cache import TokenSplit
from medim.denoiser import MeDiMModel
from medim.diffusion.objective import nelbo
from medim.diffusion.schedule import SMALLEST_T, LogLinear
from medim.diffusion.transition import transition

CONDITIONS: dict[str, tuple[Modality, ...]] = {
    "joint": ("image", "report"),
    "report|image": ("report",),
    "image|report": ("image",),
}
"""Which modalities are to be told; the others are given."""
MARGINALS: dict[str, tuple[Modality, Modality]] = {"report": ("report", "image"), "image": ("image", "report")}
"""One modality alone: which is told, and which is neither told nor known."""


@dataclass(frozen=True)
class Likelihood:
    """Upper bounds on -log p, in nats per sequence, one estimate per sample; shape (n, 2) for (image, report)."""

    nats: torch.Tensor

    def mean(self, modality: str) -> float:
        return float(self.nats[:, MODALITIES.index(modality)].mean())

    def standard_error(self, modality: str) -> float:
        column = self.nats[:, MODALITIES.index(modality)]
        return float(column.std() / len(column) ** 0.5)


@torch.no_grad()
def likelihood(
    model: MeDiMModel,
    split: TokenSplit,
    condition: str,
    draws: int = 8,
    seed: int = 0,
    limit: int | None = None,
    batch: int = 64,
) -> Likelihood:
    """The bound of each sample of a split, see `conditional_bound`.

    Args:
        condition: `joint` bounds -log p(image, report) (its two columns add up), `report|image`, `image|report`; `report` and
            `image` alone bound the marginals.
        limit: the first so many samples; all where None.
    """
    layout = model.config.layout
    count = min(len(split), limit) if limit is not None else len(split)
    parts = []
    for start in range(0, count, batch):
        rows = range(start, min(start + batch, count))
        clean = layout.join(split.image[rows.start : rows.stop], split.report[rows.start : rows.stop])
        parts.append(conditional_bound(model, clean, *places(layout, condition, len(rows)), draws, seed, rows))
    return Likelihood(torch.cat(parts))


def places(layout: Layout, condition: str, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which positions a condition (of `CONDITIONS` or `MARGINALS`) tells, and which it hides: True there, (batch, L) each.

    Raises:
        UserError: an unknown condition.
    """
    if condition not in CONDITIONS and condition not in MARGINALS:
        raise unknown("condition of a likelihood", condition, [*CONDITIONS, *MARGINALS])
    told, hidden = torch.zeros(2, layout.length, dtype=torch.bool)
    for modality in CONDITIONS[condition] if condition in CONDITIONS else MARGINALS[condition][:1]:
        told[layout.of(modality)] = True
    if condition in MARGINALS:
        hidden[layout.of(MARGINALS[condition][1])] = True
    return told.expand(batch, -1), hidden.expand(batch, -1)


@torch.no_grad()
def conditional_bound(
    model: MeDiMModel,
    clean: torch.Tensor,
    told: torch.Tensor,
    hidden: torch.Tensor,
    draws: int,
    seed: int,
    numbers: Sequence[int],
) -> torch.Tensor:
    """Nats of a bound on -log p(told positions | positions neither told nor hidden), by stratified draws; shape (B, 2).

    Sample i has k = 1 + floor(N frac(i * golden ratio + j / draws)) of its N told positions masked in draw j, chosen by
    (seed, i, j): two models with the same canvas are compared under identical noise, whatever the batch.

    Args:
        clean: complete sequences (B, L).
        told: True where a token's cost counts, (B, L).
        hidden: True where a token is masked throughout and costs nothing: it is not known, (B, L).
        numbers: i of each sample.
    """
    terms = bound_terms(model, clean, told, hidden, draws, seed, numbers)
    result = torch.zeros(len(clean), 2)
    for term in terms:
        result += term / len(terms)
    return result


@torch.no_grad()
def bound_terms(
    model: MeDiMModel,
    clean: torch.Tensor,
    told: torch.Tensor,
    hidden: torch.Tensor,
    draws: int,
    seed: int,
    numbers: Sequence[int],
) -> list[torch.Tensor]:
    """The draws that `conditional_bound` is the mean of, (B, 2) each; a single one, exact, of an autoregressive model."""
    layout, process = model.config.layout, model.config.transition
    if model.config.objective == "autoregressive":
        return [_exact(model, clean, told, hidden)]
    corrupt = _masked if process == "absorbing" else _noised
    terms = []
    was_training = model.training
    model.eval()
    free = [row.nonzero()[:, 0] for row in told]
    for j in range(draws):
        drawn = [
            corrupt(clean[n], free[n], hidden[n], layout, process, (i * GOLDEN + j / draws) % 1.0, (seed, 3, i, j))
            for n, i in enumerate(numbers)
        ]
        noisy, asked, t, weight = (torch.stack(column) for column in zip(*drawn, strict=True))
        clean_, noisy, asked, t = (x.to(model.device) for x in (clean, noisy, asked, t))
        bound = nelbo(model(noisy, t, asked), clean_, noisy, t, layout, asked, process=process)
        terms.append(weight * bound.divergence.cpu())
    model.train(was_training)
    return terms


@torch.no_grad()
def evidence(
    model: MeDiMModel, clean: torch.Tensor, spans: Sequence[slice], draws: int = 16, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the image says for each sentence of a report: log p(sentence | image, rest) - log p(sentence | rest), in nats.

    Both terms are estimated by their bounds under the same noise, so the difference is an estimate, not a bound. Positive: the
    image makes the sentence likelier. An autoregressive model knows of the rest what stands before the sentence, and its
    differences are exact: over all tokens they add up to log p(report | image) - log p(report).

    Args:
        clean: one complete sequence (L,).
        spans: places of the sentences' tokens within the report.

    Returns:
        Differences and their standard errors over draws, each of shape (len(spans),).
    """
    if model.config.objective == "autoregressive":
        return _exact_evidence(model, clean, spans)
    layout = model.config.layout
    report = torch.arange(layout.length)[layout.report]
    image = torch.zeros(layout.length, dtype=torch.bool)
    image[layout.image] = True
    differences = []
    for number, span in enumerate(spans):
        told = torch.zeros(layout.length, dtype=torch.bool)
        told[report[span]] = True
        # A draw is a sample of its own: draw j masks another number of the sentence's tokens.
        sequences, spoken = clean.expand(draws, -1), told.expand(draws, -1)
        numbers = range(number * draws, (number + 1) * draws)
        seen, blind = (
            conditional_bound(model, sequences, spoken, mask.expand(draws, -1), 1, seed, numbers)[:, 1]
            for mask in (torch.zeros_like(image), image)
        )
        differences.append(blind - seen)
    table = torch.stack(differences)  # (S, draws)
    return table.mean(1), table.std(1) / draws**0.5


def _exact(model: MeDiMModel, clean: torch.Tensor, told: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """-log p of an autoregressive model by the chain rule; no bound, no noise.

    What is given is read before what is told, and what is hidden after it, where it cannot matter.

    Raises:
        UserError: what is told, given and hidden are not whole modalities.
    """
    layout = model.config.layout
    for report_first, conditions in ((False, ("joint", "report|image", "image")), (True, ("image|report", "report"))):
        for condition in conditions:
            wanted_told, wanted_hidden = places(layout, condition, len(clean))
            if torch.equal(told, wanted_told) and torch.equal(hidden, wanted_hidden):
                return _from_the_left(model, clean, told, report_first)
    raise UserError(f"an autoregressive model tells whole modalities only: {', '.join([*CONDITIONS, *MARGINALS])}")


def _from_the_left(model: MeDiMModel, clean: torch.Tensor, told: torch.Tensor, report_first: bool) -> torch.Tensor:
    """Cost of the told positions given all that stands before each, by modality; (B, 2)."""
    was_training = model.training
    model.eval()
    moved, asked = clean.to(model.device), told.to(model.device)
    t = torch.zeros(len(clean), 2, device=model.device)
    order = torch.full((len(clean),), report_first, device=model.device)
    nats = model(moved, t, asked, clean=moved, alpha=1 - t, report_first=order).cpu()
    model.train(was_training)
    return nats


def _exact_evidence(model: MeDiMModel, clean: torch.Tensor, spans: Sequence[slice]) -> tuple[torch.Tensor, torch.Tensor]:
    """`evidence` by the chain rule: the sentence after the image, and before it."""
    layout = model.config.layout
    told = torch.zeros(len(spans), layout.length, dtype=torch.bool)
    for row, span in enumerate(spans):
        told[row, torch.arange(layout.length)[layout.report][span]] = True
    sequences = clean.expand(len(spans), -1)
    seen, blind = (_from_the_left(model, sequences, told, report_first)[:, 1] for report_first in (False, True))
    return blind - seen, torch.zeros(len(spans))


Noise = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""x_t (L,), where the model is asked (L,), time of each modality (2,), weight of each modality's term (2,)."""


def _masked(
    clean: torch.Tensor, free: torch.Tensor, hidden: torch.Tensor, layout: Layout, process: str, u: float, key: tuple[int, ...]
) -> Noise:
    """1 + floor(N u) of the free positions masked, and what is hidden."""
    k = 1 + int(len(free) * u)
    noisy, asked = clean.clone(), torch.zeros(layout.length, dtype=torch.bool)
    asked[free[torch.from_numpy(stream(*key).permutation(len(free))[:k])]] = True
    noisy[asked | hidden] = layout.vocabulary.mask
    t = Canvas(layout, noisy[None], torch.zeros(1, layout.length, dtype=torch.bool)).masked_fraction()[0]
    return noisy, asked, t, torch.full((2,), len(free) / k)


def _noised(
    clean: torch.Tensor, free: torch.Tensor, hidden: torch.Tensor, layout: Layout, process: str, u: float, key: tuple[int, ...]
) -> Noise:
    """The free positions at time u of the process, and what is hidden at time 1."""
    level = torch.tensor(SMALLEST_T + (1 - SMALLEST_T) * u)
    uniform = torch.from_numpy(stream(*key).random(layout.length))
    noisy, asked, t = clean.clone(), torch.zeros(layout.length, dtype=torch.bool), torch.zeros(2)
    asked[free] = True
    for column, modality in enumerate(MODALITIES):
        where = layout.of(modality)
        levels = level * asked[where] + 1.0 * hidden[where]
        if levels.any():
            noise = transition(process, layout.size(modality))
            z = noise.corrupt(layout.states(clean[where], modality), 1 - levels, uniform[where])
            noisy[where], t[column] = layout.ids(z, modality), levels.max()
    return noisy, asked, t, LogLinear().weight(t)
