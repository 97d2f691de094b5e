"""The bound against closed forms: with the optimal denoiser of an enumerable law it equals the entropy."""

import itertools
import math

import numpy as np
import torch

from medim.canvas import Canvas, Layout
from medim.denoiser import DenoiserOutput
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


def optimal(noisy: torch.Tensor, sequences: torch.Tensor, probability: torch.Tensor) -> DenoiserOutput:
    """log p(x^i | visible tokens) at each masked position, by enumeration."""
    v = LAYOUT.vocabulary
    agrees = ((noisy[:, None] == sequences) | (noisy[:, None] == v.mask)).all(-1)  # (B, states)
    posterior = agrees * probability
    posterior = posterior / posterior.sum(1, keepdim=True)
    logits = {}
    for name, size, offset in (("image", v.codes, v.image_offset), ("report", v.text, 0)):
        where = getattr(LAYOUT, name)
        onehot = torch.nn.functional.one_hot(sequences[:, where] - offset, size).float()  # (states, N, size)
        marginal = torch.einsum("bs,snk->bnk", posterior, onehot)
        logits[name] = marginal[noisy[:, where] == v.mask].log().clamp(min=-60)
    return DenoiserOutput(**logits)


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


def expected_bound(condition: tuple[float, float]) -> float:
    """The bound with the optimal denoiser, exact over data and masks, Gauss-Legendre over t."""
    sequences, probability = law()
    nodes, weights = np.polynomial.legendre.leggauss(12)
    total = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        t = (float(node) * condition[0], float(node) * condition[1])
        for clean, p in zip(sequences, probability, strict=True):
            for noisy, chance in all_patterns(clean, t):
                output = optimal(noisy[None], sequences, probability)
                bound = nelbo(output, clean[None], noisy[None], torch.tensor([t]), LAYOUT)
                total += float(weight) * float(p) * chance * float(bound.nats.sum())
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
    canvas = Canvas(LAYOUT, clean, torch.ones_like(clean, dtype=torch.bool))
    output = DenoiserOutput(torch.zeros(0, 2), torch.zeros(0, 3))
    assert nelbo(output, clean, canvas.tokens, torch.full((3, 2), 0.5), LAYOUT).nats.abs().sum() == 0
