"""Steps of a tokenizer's training: losses, the adversary, the order of the images, the learning rate."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medim.training.tokenizer import steps as module
from medim.training.tokenizer.steps import (
    BreakdownError,
    PatchDiscriminator,
    TokenizerTraining,
    adaptive_weight,
    batch_indices,
    discriminator_loss,
    generator_loss,
    perceptual_distance,
)
from tests.medim.training.tokenizer.tiny import RECIPE


def squares(count: int) -> Tensor:
    """Grey images (N, 16, 16, 3) with one bright square of a random place and colour."""
    values = np.full((count, 16, 16, 3), 60, np.uint8)
    for index in range(count):
        rng = np.random.default_rng([5, index])
        row, column = rng.integers(0, 12, 2)
        values[index, row : row + 4, column : column + 4] = rng.integers(120, 256, 3)
    return torch.from_numpy(values)


def without_time(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_adversarial_and_perceptual_losses_reach_the_decoder(monkeypatch):
    class Pools(nn.Module):
        def stages(self, images):
            return [nn.functional.avg_pool2d(images, k) for k in (2, 4)]

    monkeypatch.setattr(module, "EfficientNetLite0Features", Pools)
    update = {"adversarial_weight": 0.5, "adversarial_start": 5, "perceptual_weight": 0.5, "l2_weight": 1.0}
    run = TokenizerTraining(RECIPE.model_copy(update=update), "cpu")
    cache = squares(40)
    rows = [run.advance(cache) for _ in range(8)]
    assert all({"l1", "l2", "perceptual"} <= row.keys() for row in rows)
    assert [("discriminator" in row) for row in rows] == [False] * 5 + [True] * 3
    other = TokenizerTraining(RECIPE.model_copy(update=update), "cpu")
    other.load(copy.deepcopy(run.state()))
    assert without_time([run.advance(cache)]) == without_time([other.advance(cache)])


def test_the_adversary_learns_and_its_weight_is_the_ratio_of_the_gradients(monkeypatch):
    """Esser et al. 2021, eq. 6 and 7: lambda = |grad L_rec| / (|grad L_GAN| + delta) at the decoder's last layer."""
    seen = []

    def spy(reconstruction, adversarial, last_layer):
        of_reconstruction, of_adversarial = (
            torch.autograd.grad(loss, last_layer, retain_graph=True)[0] for loss in (reconstruction, adversarial)
        )
        balance = adaptive_weight(reconstruction, adversarial, last_layer)
        seen.append((balance.item(), (of_reconstruction.norm() / (of_adversarial.norm() + 1e-6)).item()))
        return balance

    monkeypatch.setattr(module, "adaptive_weight", spy)
    update = {"adversarial_weight": 0.5, "adversarial_start": 20, "steps": 80, "l2_weight": 1.0, "quantize_start": 15}
    run = TokenizerTraining(RECIPE.model_copy(update=update), "cpu")
    cache = squares(200)
    rows = [run.advance(cache) for _ in range(70)]
    losses = [row["discriminator"] for row in rows if "discriminator" in row]
    assert len(losses) == len(seen) == 50
    assert losses[0] == pytest.approx(1, abs=0.25)  # both hinges at their start
    assert np.mean(losses[10:30]) < 0.8 * losses[0]  # it tells blurred squares from sharp ones
    assert all(math.isfinite(balance) and balance > 0 for balance, _ in seen)
    assert [balance for balance, _ in seen] == pytest.approx([expected for _, expected in seen], rel=1e-4)
    assert run.adversary.param_groups[0]["lr"] == run.optimizer.param_groups[0]["lr"] < RECIPE.learning_rate  # one schedule
    assert [row["adversarial_balance"] for row in rows[20:]] == [balance for balance, _ in seen]
    assert rows[-1]["psnr"] > rows[20]["psnr"] - 1.5  # it costs something; it does not undo the reconstruction


def test_a_loss_that_is_not_finite_stops(monkeypatch):
    run = TokenizerTraining(RECIPE, "cpu")
    next(run.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(BreakdownError, match="the loss is nan at step 1"):
        run.advance(squares(8))


def test_every_image_once_per_epoch_and_a_new_order_each():
    seen = np.concatenate([batch_indices(10, 4, step, seed=3) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])
    assert len(batch_indices(3, 8, 5, seed=0)) == 8  # fewer images than a batch
    assert not np.array_equal(batch_indices(10, 4, 0, seed=3), batch_indices(10, 4, 0, seed=4))


def test_learning_rate_warms_up_and_falls_to_zero():
    run = TokenizerTraining(RECIPE, "cpu")
    rates = []
    for step in range(RECIPE.steps):
        run.step = step
        rates.append(run._learning_rate())
    assert rates[:3] == pytest.approx([1.5e-3, 3e-3, 3e-3])
    assert rates[7] == pytest.approx(3e-3 * 0.5)
    assert rates[-1] == pytest.approx(3e-3 * 0.5 * (1 + math.cos(math.pi * 0.9)))


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
