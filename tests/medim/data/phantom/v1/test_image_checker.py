"""The image checkers of version 1: a short training that must learn, and what the shipped ones reach."""

import json

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.data.dataset import Checker
from medim.data.image_checker_training import f1_scores
from medim.data.phantom.v1.dataset import FINGERPRINT, WEIGHTS, PhantomDataset
from medim.data.phantom.v1.image_checker import PhantomImageChecker
from medim.data.phantom.v1.image_checker_training import RECIPES, render, train_image_checker
from medim.data.phantom.v1.names import LABELS

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


@pytest.mark.parametrize(("pairs", "start"), [(64, 0), (256, 49_000), (256, -1)])
def test_a_stretch_outside_the_split_is_told(tmp_path, pairs, start):
    with pytest.raises(UserError, match=r"must be at least 128 within 0\.\.49152"):
        train_image_checker(tmp_path / "d.safetensors", pairs=pairs, start=start)


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
