"""What the trainings of both phantoms' checkers share, in closed form."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.data.dataset import Checker
from medim.data.phantom.image_checker import FindingNet, ImageChecker
from medim.data.phantom.image_checker_training import (
    accuracy,
    augmented,
    best_thresholds,
    f1_scores,
    fit,
    render,
    round_weights,
    train_image_checker,
    write_checker,
)
from medim.data.phantom.labels import LABELS
from medim.data.phantom.worlds import WORLDS

V1, V2 = WORLDS["phantom"], WORLDS["phantom-v2"]
SHORT = {"start": 0, "epochs": 1, "seed": 3, "width": 4, "evaluate": 8}
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


@pytest.mark.parametrize("world", WORLDS.values())
def test_augmentation_never_mirrors_and_enlarges(world):
    pixels = torch.zeros(16, 3, 64, 64, dtype=torch.uint8)
    pixels[:, :, :, :32] = 255
    generator = torch.Generator().manual_seed(0)
    side, shift = world.design.side, world.design.shift
    for _ in range(4):
        images = augmented(pixels, world.design, generator)
        assert images.shape == (16, 3, side, side)
        left, right = images[..., : side // 2 - 2 * shift], images[..., side // 2 + 2 * shift :]
        assert (left.mean(dim=(1, 2, 3)) > right.mean(dim=(1, 2, 3))).all()
        assert images.abs().max() <= 1.0


def test_grey_noise_is_the_same_in_each_channel():
    pixels = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    for grey in (True, False):
        design = replace(V1.design, noise=(0.05, 0.06), grey=grey)
        images = augmented(pixels, design, torch.Generator().manual_seed(1))
        assert torch.equal(images[:, 0], images[:, 1]) is grey


def test_weights_are_measured_as_they_go_to_disk():
    network = FindingNet(V1.design, 4)
    network.initialise(torch.Generator().manual_seed(0))
    weights = round_weights(network)
    assert weights["head.weight"].dtype == torch.float16
    assert torch.equal(network.head.weight, weights["head.weight"].float())
    assert weights["stages.0.1.num_batches_tracked"].dtype == torch.int64
    assert not network.training


def test_a_training_that_breaks_down_names_the_step_and_writes_nothing(tmp_path):
    network = FindingNet(V1.design, 8)
    batches = [(torch.zeros(2, 3, 64, 64), torch.zeros(2, len(LABELS)))] * 3
    batches[1] = (batches[1][0] * torch.nan, batches[1][1])
    with pytest.raises(UserError, match="broke down: the loss is nan at step 2"):
        fit(network, batches, 3)
    weights = {"w": torch.tensor([torch.inf])}
    with pytest.raises(UserError, match="weight w is NaN or infinite"):
        write_checker(tmp_path / "c.safetensors", network, weights, np.zeros(len(LABELS)), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("world", WORLDS.values())
def test_rendering_gives_pixels_and_labels(world):
    cases = [world.case("val", index) for index in range(4)]
    pixels, targets = render(world, cases, 64)
    assert (pixels.shape, pixels.dtype, targets.shape) == ((4, 3, 64, 64), torch.uint8, (4, len(LABELS)))
    assert [{LABELS[i] for i in row.nonzero().flatten()} for row in targets] == [set(case.labels) for case in cases]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("checker") / "checker.safetensors"
    return path, train_image_checker(V1, path, **SHORT | {"cases": 512, "epochs": 4, "width": 8, "evaluate": 128})


def test_a_short_training_beats_calling_everything_present(trained):
    _, checker = trained
    _, targets = render(V1, [V1.case("test", index) for index in range(128)], 64)
    trivial = f1_scores(np.ones((128, len(LABELS)), bool), targets.numpy() > 0.5).mean()
    assert checker.accuracy["test"]["macro_f1"] > trivial + 0.1


def test_what_is_written_is_what_is_read_and_what_was_measured(trained, tmp_path):
    of_two = tmp_path / "checker.safetensors"
    checkers = {V1: trained, V2: (of_two, train_image_checker(V2, of_two, cases=128, name="short", **SHORT | {"evaluate": 24}))}
    for world, (path, checker) in checkers.items():
        again = ImageChecker.load(path, world.design)
        assert (again.fingerprint, again.name) == (checker.fingerprint, world.design.name or "short")
        card = json.loads(path.with_suffix(".json").read_text())
        assert (card["data"]["pictures"], card["labels"]) == (world.pictures, list(LABELS))
        assert isinstance(again, Checker)
        assert again([]) == []
        for side in world.design.resolutions:
            reached = card["accuracy"]["test"]
            pairs = [world(side).pair("test", index) for index in range(reached["n"])]
            truth = np.array([[label in pair.findings for label in LABELS] for pair in pairs])
            read = np.array([[label in found for label in LABELS] for found in again([pair.image for pair in pairs])])
            macro = reached.get(f"{side} px", reached)["macro_f1"]
            assert f1_scores(read, truth).mean() == pytest.approx(macro, abs=1e-3)


@pytest.mark.parametrize("world", WORLDS.values())
def test_training_depends_on_its_seed_alone(tmp_path, world):
    torch.set_num_threads(1)
    for name, seed, foreign in (("a", 3, 99), ("b", 3, 7), ("c", 4, 7)):
        torch.manual_seed(foreign)
        out = tmp_path / f"{name}.safetensors"
        train_image_checker(world, out, cases=128, name="x", **SHORT | {"seed": seed})
    a, b, c = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("world", WORLDS.values())
def test_a_stretch_outside_the_split_is_refused(tmp_path, world):
    size = world.cohort.sizes["train"]
    for cases, start in ((64, 0), (256, size - 128), (256, -1)):
        with pytest.raises(UserError, match=rf"must be at least 128 within 0\.\.{size}"):
            train_image_checker(world, tmp_path / "d.safetensors", **SHORT | {"cases": cases, "start": start})
