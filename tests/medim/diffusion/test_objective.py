"""The bound against closed forms: with the optimal denoiser of an enumerable law it equals the entropy."""

import itertools
import math

import numpy as np
import torch

from medim.canvas import Layout
from medim.diffusion.objective import nelbo
from medim.diffusion.schedule import SMALLEST_T, LogLinear
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=3, codes=2), image_length=2, report_length=2)


def law() -> tuple[torch.Tensor, torch.Tensor]:
    """All sequences and their probability: codes and words depend on each other."""
    states = torch.tensor(list(itertools.product(range(2), range(2), range(3), range(3))))
    weight = torch.rand(len(states), generator=torch.Generator().manual_seed(0)) ** 3
    weight[states[:, 0] != states[:, 2].clamp(max=1)] *= 0.05
    return LAYOUT.join(states[:, :2], states[:, 2:]), weight / weight.sum()


def head(hidden: torch.Tensor, modality: str) -> torch.Tensor:
    """Hidden states that are logits already."""
    return hidden[:, : LAYOUT.size(modality)]


def optimal(noisy: torch.Tensor, sequences: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """log p(x^i | visible tokens) at each position, by enumeration; (B, L, 3)."""
    v = LAYOUT.vocabulary
    agrees = ((noisy[:, None] == sequences) | (noisy[:, None] == v.mask)).all(-1)  # (B, states)
    posterior = agrees * probability
    posterior = posterior / posterior.sum(1, keepdim=True)
    logits = torch.zeros(*noisy.shape, 3)
    for name, size, offset in (("image", v.codes, v.image_offset), ("report", v.text, 0)):
        where = getattr(LAYOUT, name)
        onehot = torch.nn.functional.one_hot(sequences[:, where] - offset, size).float()  # (states, N, size)
        marginal = torch.einsum("bs,snk->bnk", posterior, onehot)
        logits[:, where, :size] = marginal.log().clamp(min=-60)
    return logits


def all_patterns(clean: torch.Tensor, t: tuple[float, float]):
    """Every way to mask one sequence at times t, with its probability."""
    free = [*range(LAYOUT.image.start, LAYOUT.image.stop), *range(LAYOUT.report.start, LAYOUT.report.stop)]
    time_of = [t[0]] * 2 + [t[1]] * 2
    for pattern in itertools.product([False, True], repeat=4):
        chance = math.prod(u if hide else 1 - u for hide, u in zip(pattern, time_of, strict=True))
        if chance > 0:
            noisy = clean.clone()
            noisy[[p for p, hide in zip(free, pattern, strict=True) if hide]] = LAYOUT.vocabulary.mask
            yield noisy, chance


def term(logits: torch.Tensor, clean: torch.Tensor, noisy: torch.Tensor, t: tuple[float, float]) -> torch.Tensor:
    """`nelbo` under the log-linear schedule with a time for each modality."""
    times = torch.tensor([t]).expand(len(clean), 2)
    alpha, weight = LogLinear().alpha(times), LogLinear().weight(times)
    return nelbo(head, logits, clean, noisy, noisy == LAYOUT.vocabulary.mask, alpha, weight, LAYOUT)


def expected_bound(condition: tuple[float, float]) -> float:
    """The bound with the optimal denoiser, exact over data and masks, Gauss-Legendre over t."""
    sequences, probability = law()
    nodes, weights = np.polynomial.legendre.leggauss(12)
    total = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        t = (float(node) * condition[0], float(node) * condition[1])
        for clean, p in zip(sequences, probability, strict=True):
            for noisy, chance in all_patterns(clean, t):
                logits = optimal(noisy[None], sequences, probability)
                total += float(weight) * float(p) * chance * float(term(logits, clean[None], noisy[None], t).sum())
    return total


def test_joint_bound_with_the_optimal_denoiser_is_the_entropy():
    _, p = law()
    assert abs(expected_bound((1.0, 1.0)) - float(-(p * p.log()).sum())) < 1e-4


def test_report_bound_with_the_image_given_is_the_conditional_entropy():
    sequences, p = law()
    images = sequences[:, LAYOUT.image]
    marginal = torch.stack([p[(images == row).all(1)].sum() for row in images])
    assert abs(expected_bound((0.0, 1.0)) - float(-(p * (p / marginal).log()).sum())) < 1e-4


def test_weight_is_minus_alpha_prime_over_one_minus_alpha():
    schedule, t = LogLinear(), torch.linspace(0.05, 0.95, 19, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(schedule.alpha(t).sum(), t)[0]
    torch.testing.assert_close(schedule.weight(t).detach(), (-slope / (1 - schedule.alpha(t))).detach())
    assert schedule.weight(torch.tensor([0.0])).item() == 0
    assert math.isclose(schedule.weight(torch.tensor([SMALLEST_T])).item(), 1 / SMALLEST_T, rel_tol=1e-5)


def test_nothing_masked_costs_nothing():
    clean = law()[0][:3]
    assert term(torch.zeros(*clean.shape, 3), clean, clean, (0.5, 0.5)).abs().sum() == 0


def test_a_term_is_the_cross_entropy_of_the_masked_tokens_times_one_over_t():
    """By hand: at t = 1/4 the weight is 4, once. An untrained head pays log 2 for a code and log 3 for a word."""
    clean = law()[0][:1]
    noisy = clean.clone()
    noisy[:, [LAYOUT.image.start, *range(LAYOUT.report.start, LAYOUT.report.stop)]] = LAYOUT.vocabulary.mask
    found = term(torch.zeros(*clean.shape, 3), clean, noisy, (0.25, 0.5))
    torch.testing.assert_close(found, torch.tensor([[4 * math.log(2), 2 * 2 * math.log(3)]]))
