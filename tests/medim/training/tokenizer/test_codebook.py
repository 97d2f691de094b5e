import math

import pytest
import torch

from medim.tokenizers.image import ImageTokenizer
from medim.training.tokenizer.codebook import CodebookLearner, k_means, spread_seeds, standardise, usage_of


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(per: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Four tight clusters, one of them rare."""
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    points = [
        c + 0.1 * torch.randn(n, 2, generator=generator(i))
        for i, (c, n) in enumerate(zip(centres, (per, per, per, 2), strict=True))
    ]
    return torch.cat(points), centres


def is_row_of(rows: torch.Tensor, points: torch.Tensor) -> bool:
    return bool((rows[:, None] == points[None]).all(2).any(1).all())


def test_k_means_finds_every_cluster_the_rare_one_too():
    points, centres = clusters()
    found = k_means(points, 4, generator())
    assert torch.cdist(centres, found).min(1).values.max() < 0.2
    assert torch.equal(found, k_means(points, 4, generator()))


def test_seeds_are_points_and_distinct_until_points_run_out():
    points, _ = clusters()
    seeds = spread_seeds(points, 20, generator())
    assert len(seeds.unique(dim=0)) == 20
    assert is_row_of(seeds, points)
    assert len(spread_seeds(torch.zeros(3, 2), 5, generator())) == 5


def test_a_codebook_on_another_device_is_started_from_latents_on_the_cpu():
    learner = CodebookLearner(torch.empty(4, 2, device="meta"))
    learner.start(clusters()[0], generator())
    assert {tensor.device.type for tensor in (learner.counts, learner.sums, learner.window)} == {"meta"}


def test_quantise_is_straight_through():
    learner = CodebookLearner(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    latents = torch.tensor([[0.2, 0.9], [0.1, 0.6]]).view(1, 2, 1, 2).requires_grad_()  # positions (0.2, 0.1) and (0.9, 0.6)
    quantised, commitment, codes = learner.quantise(latents)
    assert codes.tolist() == [0, 1]
    assert torch.allclose(quantised, torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(1, 2, 1, 2))
    assert commitment.item() == pytest.approx((0.04 + 0.01 + 0.01 + 0.16) / 4)
    quantised.sum().backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))


def test_codes_follow_the_mean_of_their_latents():
    learner = CodebookLearner(torch.tensor([[0.0], [10.0]]), decay=0.9)
    latents = torch.tensor([1.0, 3.0, 9.0, 9.0]).view(4, 1, 1, 1)
    for _ in range(200):
        _, _, codes = learner.quantise(latents)
        learner.update(latents, codes)
    assert learner.codebook.flatten().tolist() == pytest.approx([2.0, 9.0], abs=1e-3)
    assert usage_of(learner.window) == pytest.approx((1.0, 2.0))


def test_one_step_of_the_moving_average():
    learner = CodebookLearner(torch.tensor([[0.0], [10.0]]), decay=0.9)
    learner.update(torch.tensor([2.0, 4.0]).view(2, 1, 1, 1), torch.tensor([0, 0]))
    # in units of the uniform share: N = 0.9 * 1 + 0.1 * 2, m = 0.9 * 0 + 0.1 * 6
    assert learner.codebook.flatten().tolist() == pytest.approx([0.6 / 1.1, 10.0])


def test_a_code_without_latents_stays_finite():
    learner = CodebookLearner(torch.tensor([[0.0], [10.0]]), decay=0.5)
    for _ in range(300):
        learner.update(torch.zeros(4, 1, 1, 1), torch.zeros(4, dtype=torch.long))
    assert learner.codebook[1].item() == pytest.approx(10.0)


def test_dead_codes_move_to_where_the_error_is():
    points, centres = clusters()
    far = torch.tensor([[0.0, 0.0], [10.0, 0.0], [500.0, 500.0], [600.0, 600.0]])
    learner = CodebookLearner(far)
    _, _, codes = learner.quantise(points.T.reshape(1, 2, 1, -1))
    learner.window += torch.bincount(codes, minlength=4)
    assert learner.restart(points, generator()) == 2
    assert is_row_of(far[2:], points)
    assert torch.equal(far[:2], centres[:2])
    assert learner.window.sum() == 0


def test_codes_in_use_are_left_alone():
    learner = CodebookLearner(torch.tensor([[0.0], [1.0]]), dead_below=0.01)
    learner.window += torch.tensor([190.0, 10.0])
    before = learner.codebook.clone()
    assert learner.restart(torch.tensor([[5.0]]), generator()) == 0
    assert torch.equal(learner.codebook, before)


def test_usage():
    assert usage_of(torch.ones(8)) == pytest.approx((1.0, 8.0))
    share, perplexity = usage_of(torch.tensor([3.0, 1.0, 0.0, 0.0]))
    assert share == 0.5
    assert perplexity == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    assert usage_of(torch.zeros(4)) == (0.0, 1.0)


def test_state_goes_round():
    learner = CodebookLearner(torch.randn(5, 2, generator=generator()))
    learner.update(torch.randn(3, 2, 2, 2, generator=generator(1)), torch.arange(12) % 5)
    other = CodebookLearner(learner.codebook.clone())
    other.load_state_dict(learner.state_dict())
    for name, value in learner.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_standardising_changes_no_token_and_no_pixel():
    tokenizer = ImageTokenizer.build(16, 4, 32, channels=(4, 8, 8), latent_channels=3)
    codebook = tokenizer.model.quantize.embedding.weight.data
    codebook.copy_(7 + 0.05 * torch.randn(32, 3, generator=generator()))
    tokenizer.model.quant_conv.bias.data.fill_(7)
    images = torch.rand(4, 3, 16, 16, generator=generator(1)) * 2 - 1
    tokens = tokenizer.encode(images)
    decoded = tokenizer.decode(tokens)
    standardise(tokenizer.model)
    assert tokenizer.codebook.mean(0).abs().max() < 1e-4
    assert tokenizer.codebook.square().mean().item() == pytest.approx(1, abs=1e-4)
    assert len(tokens.unique()) > 3
    assert torch.equal(tokenizer.encode(images), tokens)
    assert torch.allclose(tokenizer.decode(tokens), decoded, atol=1e-4)
