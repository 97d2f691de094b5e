"""Marginals, posteriors and bounds of the absorbing, uniform and hybrid processes against enumeration and closed forms."""

import itertools
import math

import numpy as np
import pytest
import torch

from medim.diffusion.schedule import Cosine, LogLinear, Polynomial
from medim.diffusion.transition import TRANSITIONS, Transition

SHARES = (0.0, TRANSITIONS["hybrid"], 0.6, 1.0)
V = 3


def kernel(process: Transition, a: float) -> torch.Tensor:
    """Transition matrix of the whole state space, rows from, columns to; the MASK row is what noise does to noise."""
    return a * torch.eye(V + 1, dtype=torch.float64) + (1 - a) * process.prior()[None]


@pytest.mark.parametrize("share", SHARES)
def test_the_marginal_is_the_product_of_the_steps(share):
    process = Transition(V, share)
    alphas = [1.0, 0.83, 0.5, 0.21]
    product = torch.eye(V + 1, dtype=torch.float64)
    for before, after in itertools.pairwise(alphas):
        product = product @ kernel(process, after / before)
    marginal = process.marginal(torch.eye(V, dtype=torch.float64), torch.full((V,), alphas[-1], dtype=torch.float64))
    torch.testing.assert_close(marginal, product[:V])


@pytest.mark.parametrize("share", SHARES)
def test_the_posterior_is_bayes_rule_on_the_matrices(share):
    process = Transition(V, share)
    alpha_s, alpha_t = 0.7, 0.4
    to_s, s_to_t = kernel(process, alpha_s), kernel(process, alpha_t / alpha_s)
    reachable = process.prior() > 0
    for x, z in itertools.product(range(V), range(V + 1)):
        if not reachable[z] and z != x:
            continue
        expected = to_s[x] * s_to_t[:, z]
        expected = expected / expected.sum()
        found = process.posterior(
            torch.tensor([z]),
            torch.eye(V, dtype=torch.float64)[x][None],
            torch.tensor([alpha_t], dtype=torch.float64),
            torch.tensor([alpha_s], dtype=torch.float64),
        )
        torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize("share", SHARES)
def test_corruption_draws_from_the_marginal(share):
    process = Transition(V, share)
    n, alpha = 200_000, 0.35
    uniform = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = process.corrupt(torch.ones(n, dtype=torch.long), torch.tensor(alpha, dtype=torch.float64), uniform)
    found = torch.bincount(z, minlength=V + 1) / n
    expected = process.marginal(torch.eye(V, dtype=torch.float64)[1], torch.tensor(alpha, dtype=torch.float64))
    assert (found - expected).abs().max() < 0.005


def law(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    states = torch.tensor(list(itertools.product(range(V), repeat=length)))
    weight = torch.rand(len(states), generator=torch.Generator().manual_seed(3), dtype=torch.float64) ** 3
    weight[states[:, 0] == states[:, 1]] *= 5
    return states, weight / weight.sum()


def likelihoods(process: Transition, states: torch.Tensor, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Every noisy sequence (Z, N), and q(z^i | x^i) of each clean one: (Z, S, N)."""
    noisy = torch.tensor(list(itertools.product(range(V + 1), repeat=states.shape[1])))
    single = process.marginal(torch.eye(V, dtype=torch.float64), torch.full((V,), alpha, dtype=torch.float64))
    return noisy, single[states[None], noisy[:, None]]


def exact_logits(states: torch.Tensor, p: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    """log p(x^i | z^j for j != i), (Z, N, V): what reverses the process exactly.

    The token's own noisy state is left out: the posterior brings it in. (A MASK says nothing, so that for the absorbing
    process it is the same as p(x^i | z).)
    """
    onehot = torch.nn.functional.one_hot(states, V).double()
    places = []
    for i in range(states.shape[1]):
        others = [j for j in range(states.shape[1]) if j != i]
        joint = chance[..., others].prod(-1) * p
        joint = joint / joint.sum(1, keepdim=True).clamp_min(1e-300)
        places.append(torch.einsum("zs,sv->zv", joint, onehot[:, i]))
    return torch.stack(places, dim=1).clamp_min(1e-300).log()


def entropy(p: torch.Tensor) -> float:
    return float(-(p * p.log()).sum())


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("schedule", [LogLinear(), Cosine(), Polynomial(2.0)], ids=["log-linear", "cosine", "polynomial"])
def test_the_bound_with_the_optimal_denoiser_is_the_entropy(share, schedule):
    """Exact over data and noise; Gauss-Legendre over t."""
    process = Transition(V, share)
    states, p = law(2)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        t = torch.tensor(max(node, 1e-3), dtype=torch.float64)
        alpha = float(schedule.alpha(t))
        noisy, chance = likelihoods(process, states, alpha)
        logits = exact_logits(states, p, chance)
        weighted = chance.prod(-1) * p
        z, s = (weighted > 0).nonzero().T
        term = sum(process.divergence(logits[z, i], states[s, i], noisy[z, i], torch.full((len(z),), alpha)) for i in range(2))
        total += weight * float(schedule.weight(t)) * float((weighted[z, s] * term).sum())
    assert total == pytest.approx(entropy(p), abs=4e-3)


def step_divergence(process, logits, x, z, alpha_t, alpha_s):
    r"""KL(q(z_s | z_t, x) || q(z_s | z_t, x_\theta)) in nats, shape (n,): one term of the bound with finitely many steps."""
    truth = process.posterior(z, torch.nn.functional.one_hot(x, process.size).to(logits), alpha_t, alpha_s)
    model = process.posterior(z, logits.softmax(-1), alpha_t, alpha_s)
    return (torch.xlogy(truth, truth) - torch.xlogy(truth, model)).sum(-1)


@pytest.mark.parametrize("share", SHARES)
def test_the_bound_in_steps_lies_above_the_entropy_and_comes_down_to_it(share):
    process, schedule = Transition(V, share), LogLinear()
    states, p = law(2)

    def bound(steps: int) -> float:
        total = 0.0
        for i in range(1, steps + 1):
            t, s_ = torch.tensor(i / steps, dtype=torch.float64), torch.tensor((i - 1) / steps, dtype=torch.float64)
            noisy, chance = likelihoods(process, states, float(schedule.alpha(t)))
            logits = exact_logits(states, p, chance)
            weighted = chance.prod(-1) * p
            z, s = (weighted > 0).nonzero().T
            ones = torch.ones(len(z), dtype=torch.float64)
            for place in range(2):
                term = step_divergence(
                    process,
                    logits[z, place],
                    states[s, place],
                    noisy[z, place],
                    ones * schedule.alpha(t),
                    ones * schedule.alpha(s_),
                )
                total += float((weighted[z, s] * term).sum())
        return total

    gaps = [bound(steps) - entropy(p) for steps in (2, 8, 64)]
    assert gaps[0] > gaps[1] > gaps[2] > -1e-9
    assert gaps[2] < 0.02


def test_absorbing_divergence_is_the_cross_entropy_of_masked_tokens():
    logits = torch.randn(4, V, generator=torch.Generator().manual_seed(0))
    x, z = torch.tensor([0, 1, 2, 1]), torch.tensor([3, 1, 3, 3])
    found = Transition(V).divergence(logits, x, z, torch.full((4,), 0.3))
    expected = torch.nn.functional.cross_entropy(logits, x, reduction="none") * torch.tensor([1, 0, 1, 1])
    torch.testing.assert_close(found, expected)
    almost = Transition(V, 1e-6).divergence(logits, x, z, torch.full((4,), 0.3))
    torch.testing.assert_close(almost, expected, atol=1e-4, rtol=1e-3)


def test_a_perfect_denoiser_adds_nothing():
    x = torch.tensor([0, 1, 2])
    logits = torch.nn.functional.one_hot(x, V).float() * 200
    for share in SHARES:
        process = Transition(V, share)
        for z in range(V + 1):
            if process.prior()[z] > 0:
                found = process.divergence(logits, x, torch.full((3,), z), torch.full((3,), 0.6))
                assert found.abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", [LogLinear(), Cosine(), Polynomial(3.0)], ids=["log-linear", "cosine", "polynomial"])
@pytest.mark.parametrize("share", [TRANSITIONS["hybrid"], 1.0])
def test_where_all_is_noise_no_token_adds_anything(share, schedule, dtype):
    logits = 3 * torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    x, z = torch.tensor([0, 1, 2]), torch.tensor([0, 5, 1000 if share < 1 else 6])
    alpha = schedule.alpha(torch.ones(3, dtype=dtype))
    assert Transition(1000, share).divergence(logits, x, z, alpha).tolist() == [0, 0, 0]


@pytest.mark.parametrize("schedule", [LogLinear(), Cosine(), Polynomial(3.0)], ids=["log-linear", "cosine", "polynomial"])
def test_weights_follow_from_alpha_and_eq_6_is_their_finite_form(schedule):
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(schedule.alpha(t).sum(), t)[0]
    torch.testing.assert_close(schedule.slope(t).detach(), slope)
    torch.testing.assert_close(schedule.weight(t).detach(), (-slope / (1 - schedule.alpha(t))).detach())
    assert math.isclose(float(schedule.alpha(torch.tensor(0.0, dtype=torch.float64))), 1)
    assert abs(float(schedule.alpha(torch.tensor(1.0, dtype=torch.float64)))) < 1e-12
    assert float(schedule.weight(torch.tensor(0.0))) == 0
    for h in (1e-3, 1e-5):
        now, before = schedule.alpha(t.detach()), schedule.alpha(t.detach() - h)
        finite = (before - now) / (1 - now) / h
        torch.testing.assert_close(finite, schedule.weight(t).detach(), rtol=20 * h, atol=20 * h)


def test_the_soft_weight_is_bounded_where_the_weight_is_not():
    schedule, t = LogLinear(), torch.tensor([1e-3, 0.5, 1.0], dtype=torch.float64)
    soft = schedule.min_snr_weight(t, 5.0)
    snr = schedule.alpha(t) / (1 - schedule.alpha(t))
    torch.testing.assert_close(soft, schedule.weight(t) / (1 + snr / 5.0))
    assert soft[0] < 5
    assert schedule.weight(t)[0] == 1000
