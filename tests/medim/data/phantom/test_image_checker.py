"""The image checker: files, thresholds, and a short training that must learn."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from medim.data.dataset import Checker
from medim.data.phantom.dataset import FINGERPRINT, WEIGHTS, PhantomDataset
from medim.data.phantom.image_checker import FindingNet, PhantomImageChecker, to_pixels
from medim.data.phantom.image_checker_training import RECIPES, augment, best_thresholds, f1_scores, render, train_image_checker
from medim.data.phantom.names import LABELS
from medim.errors import UserError

SHIPPED = WEIGHTS / "image_checker_score.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("checker") / "checker.safetensors"
    return path, train_image_checker(path, pairs=512, epochs=4, seed=3, width=8, evaluate=128)


def test_a_short_training_beats_calling_everything_present(trained):
    _, checker = trained
    _, targets = render("test", 0, 128)
    trivial = f1_scores(np.ones((128, len(LABELS)), bool), targets.numpy() > 0.5).mean()
    assert checker.accuracy["test"]["macro_f1"] > trivial + 0.1


def test_what_is_written_is_what_is_read_and_what_was_measured(trained):
    path, checker = trained
    again = PhantomImageChecker.load(path)
    assert again.fingerprint == checker.fingerprint
    dataset = PhantomDataset()
    images = [dataset.pair("test", index).image for index in range(128)]
    truth = np.array([[label in dataset.pair("test", i).findings for label in LABELS] for i in range(128)])
    read = np.array([[label in found for label in LABELS] for found in again(images)])
    assert f1_scores(read, truth).mean() == pytest.approx(again.accuracy["test"]["macro_f1"], abs=1e-3)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["data"]["fingerprint"] == FINGERPRINT
    assert card["labels"] == list(LABELS)
    assert isinstance(again, Checker)
    assert again([]) == []


def test_training_depends_on_its_seed_alone(tmp_path):
    torch.manual_seed(99)
    train_image_checker(tmp_path / "again.safetensors", pairs=256, epochs=1, seed=3, width=8, evaluate=32)
    torch.manual_seed(7)
    train_image_checker(tmp_path / "twice.safetensors", pairs=256, epochs=1, seed=3, width=8, evaluate=32)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "twice.safetensors").read_bytes()
    train_image_checker(tmp_path / "other.safetensors", pairs=256, epochs=1, seed=4, width=8, evaluate=32)
    assert (tmp_path / "again.safetensors").read_bytes() != (tmp_path / "other.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("field", "value", "message"), [("labels", ["x"], "not those of this phantom"), ("width", None, "width")]
)
def test_a_wrong_card_is_told(trained, tmp_path, field, value, message):
    path, _ = trained
    copy = tmp_path / "c.safetensors"
    shutil.copy(path, copy)
    card = json.loads(path.with_suffix(".json").read_text())
    card[field] = value
    if value is None:
        del card[field]
    copy.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=message):
        PhantomImageChecker.load(copy)


def test_missing_broken_and_foreign_files_are_told(trained, tmp_path):
    path, _ = trained
    with pytest.raises(UserError, match="make checkpoint"):
        PhantomImageChecker.load(tmp_path / "none.safetensors")
    copy = tmp_path / "c.safetensors"
    shutil.copy(path.with_suffix(".json"), copy.with_suffix(".json"))
    copy.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not the weights of an image checker of width 8"):
        PhantomImageChecker.load(copy)
    copy.with_suffix(".json").write_text("{\n oops")
    with pytest.raises(UserError, match="line 2: not JSON"):
        PhantomImageChecker.load(copy)
    with pytest.raises(UserError, match="must be at least 128"):
        train_image_checker(tmp_path / "d.safetensors", pairs=64)


def test_images_of_any_size_and_mode_become_64_pixels():
    images = [Image.new("L", (300, 200), 255), Image.new("RGBA", (64, 64), (255, 0, 0, 255))]
    pixels = to_pixels(images)
    assert pixels.shape == (2, 3, 64, 64)
    assert pixels.dtype == torch.uint8
    assert pixels[0].min() == 255
    assert pixels[1, :, 0, 0].tolist() == [255, 0, 0]


def test_the_network_tells_left_from_right():
    network = FindingNet(8)
    network.initialise(torch.Generator().manual_seed(0))
    network.eval()
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, :, 20:40, 8:20] = 255
    assert (network(image) - network(image.flip(3))).abs().max() > 1e-2


def test_augmentation_never_mirrors():
    pixels = torch.zeros(16, 3, 64, 64, dtype=torch.uint8)
    pixels[:, :, :, :32] = 255
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        images = augment(pixels, generator)
        assert (images[..., :28].mean(dim=(1, 2, 3)) > images[..., 36:].mean(dim=(1, 2, 3))).all()
        assert images.abs().max() <= 1.0


def test_f1_and_thresholds_in_closed_form():
    truth = np.array([[1], [1], [0], [0]], bool)
    assert f1_scores(np.array([[1], [0], [1], [0]], bool), truth).tolist() == [0.5]
    assert f1_scores(np.zeros((4, 1), bool), np.zeros((4, 1), bool)).tolist() == [0.0]
    threshold = best_thresholds(np.array([[0.9], [0.6], [0.4], [0.1]]), truth)
    assert threshold.tolist() == [pytest.approx(0.505, abs=0.011)]


@pytest.mark.skipif(not SHIPPED.is_file(), reason="the checker has not been trained yet: `make checkpoint`")
def test_the_shipped_checker_is_accurate_and_of_this_data():
    checker = PhantomDataset().image_checker()
    card = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert card["data"]["fingerprint"] == FINGERPRINT
    assert card["accuracy"]["test"]["macro_f1"] >= 0.97
    dataset = PhantomDataset()
    sample = [dataset.pair("test", index) for index in range(256)]
    read = np.array([[label in found for label in LABELS] for found in checker([pair.image for pair in sample])])
    truth = np.array([[label in pair.findings for label in LABELS] for pair in sample])
    assert f1_scores(read, truth).mean() > 0.96
    larger = PhantomDataset(128)
    read = np.array(
        [[label in found for label in LABELS] for found in checker([larger.pair("test", i).image for i in range(256)])]
    )
    assert f1_scores(read, truth).mean() > 0.9


def test_the_one_that_steers_is_another_trained_on_other_cases():
    scoring, steering = PhantomDataset().image_checker(), PhantomDataset().steering_image_checker()
    assert scoring.fingerprint != steering.fingerprint
    cards = [json.loads((WEIGHTS / f"image_checker_{role}.json").read_text()) for role in ("score", "steer")]
    stretches = [range(card["data"]["start"], card["data"]["start"] + card["data"]["pairs"]) for card in cards]
    assert not set(stretches[0]) & set(stretches[1])
    assert cards[0]["seed"] != cards[1]["seed"]
    assert {key: cards[1][key] for key in ("epochs", "seed", "width")} == {
        key: RECIPES["steer"][key] for key in ("epochs", "seed", "width")
    }
    assert steering.accuracy["test"]["macro_f1"] >= 0.97
