"""What the trainings of both phantoms' checkers share, in closed form."""

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.data.image_checker_training import (
    accuracy,
    augmented,
    best_thresholds,
    f1_scores,
    fit,
    round_weights,
    write_checker,
)
from medim.data.phantom.v1.image_checker import PhantomNet

TRUTH = np.array([[1], [1], [0], [0]], bool)


def test_f1_and_thresholds_in_closed_form():
    assert f1_scores(np.array([[1], [0], [1], [0]], bool), TRUTH).tolist() == [0.5]
    assert f1_scores(np.zeros((4, 1), bool), np.zeros((4, 1), bool)).tolist() == [0.0]
    threshold = best_thresholds(np.array([[0.9], [0.6], [0.4], [0.1]]), TRUTH)
    assert threshold.tolist() == [pytest.approx(0.505, abs=0.011)]


def test_accuracy_is_told_by_label_and_as_their_mean():
    probabilities, truth = np.array([[0.9, 0.9], [0.1, 0.9]]), np.array([[1, 1], [0, 0]], bool)
    told = accuracy(probabilities, truth, np.array([0.5, 0.5]), ("a", "b"))
    assert told == {"macro_f1": 0.8333, "f1": {"a": 1.0, "b": 0.6667}}


@pytest.mark.parametrize(("side", "shift", "grey"), [(64, 2, False), (128, 4, True)])
def test_augmentation_never_mirrors_and_enlarges(side, shift, grey):
    pixels = torch.zeros(16, 3, 64, 64, dtype=torch.uint8)
    pixels[:, :, :, :32] = 255
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        images = augmented(pixels, generator, side, shift, (-0.03, 0.06), grey)
        assert images.shape == (16, 3, side, side)
        left, right = images[..., : side // 2 - 2 * shift], images[..., side // 2 + 2 * shift :]
        assert (left.mean(dim=(1, 2, 3)) > right.mean(dim=(1, 2, 3))).all()
        assert images.abs().max() <= 1.0


def test_grey_noise_is_the_same_in_each_channel():
    pixels = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    for grey in (True, False):
        images = augmented(pixels, torch.Generator().manual_seed(1), 64, 2, (0.05, 0.06), grey)
        assert torch.equal(images[:, 0], images[:, 1]) is grey


def test_weights_are_measured_as_they_go_to_disk():
    network = PhantomNet(4, 18)
    network.initialise(torch.Generator().manual_seed(0))
    weights = round_weights(network)
    assert weights["head.weight"].dtype == torch.float16
    assert torch.equal(network.head.weight, weights["head.weight"].float())
    assert weights["stages.0.1.num_batches_tracked"].dtype == torch.int64
    assert not network.training


def test_a_training_that_breaks_down_names_the_step_and_writes_nothing(tmp_path):
    network = PhantomNet(8, 2)
    batches = [(torch.zeros(2, 3, 64, 64), torch.zeros(2, 2))] * 3
    batches[1] = (batches[1][0] * torch.nan, batches[1][1])
    with pytest.raises(UserError, match="broke down: the loss is nan at step 2"):
        fit(network, batches, 3)
    weights = {"w": torch.tensor([torch.inf])}
    with pytest.raises(UserError, match="weight w is NaN or infinite"):
        write_checker(tmp_path / "c.safetensors", network, weights, np.zeros(2), ("a", "b"), {})
    assert not list(tmp_path.iterdir())
