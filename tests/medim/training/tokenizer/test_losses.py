import pytest
import torch

from medim.training.tokenizer.losses import (
    PatchDiscriminator,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
    perceptual_distance,
)


def test_one_logit_per_patch():
    assert PatchDiscriminator(width=8, layers=3)(torch.zeros(2, 3, 64, 64)).shape == (2, 1, 8, 8)


def test_hinge_losses():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])
    assert discriminator_loss(real, fake).item() == pytest.approx(0.5 * ((0 + 1) / 2 + (0 + 2) / 2))
    assert generator_loss(fake).item() == pytest.approx(0.5)


def test_adaptive_weight_is_the_ratio_of_the_gradients():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    balance = adaptive_weight((3 * weight).sum(), (0.5 * weight).sum(), weight)
    assert balance.item() == pytest.approx(6.0, rel=1e-4)
    assert not balance.requires_grad
    assert adaptive_weight(weight.sum(), (0 * weight).sum(), weight, largest=10.0).item() == 10.0


def test_it_learns_to_tell_two_textures_apart():
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = PatchDiscriminator(width=8, layers=2)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(15):
        rough = torch.rand(8, 3, 16, 16, generator=generator) * 2 - 1
        smooth = rough.mean((2, 3), keepdim=True).expand_as(rough)
        loss = discriminator_loss(judge(rough), judge(smooth))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5


def test_perceptual_distance_ignores_scale_and_is_two_between_orthogonal_features():
    a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    b = torch.tensor([0.0, 5.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert perceptual_distance([a], [7 * a]).item() == pytest.approx(0)
    assert perceptual_distance([a, a], [b, a]).item() == pytest.approx(1)
