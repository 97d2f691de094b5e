"""The image checkers of version 2: what is written is what was measured, and what the shipped ones reach."""

import json

import numpy as np
import pytest
import torch

from medim.data.dataset import Checker
from medim.data.image_checker_training import f1_scores
from medim.data.phantom.v2.dataset import WEIGHTS, PhantomV2
from medim.data.phantom.v2.drawing.pictures import PICTURES_FINGERPRINT
from medim.data.phantom.v2.names import LABELS
from medim.data.phantom.v2.reading.image_checker import PhantomV2ImageChecker
from medim.data.phantom.v2.reading.image_checker_training import RECIPES, train_image_checker

SHIPPED = {role: WEIGHTS / f"image_checker_{role}.safetensors" for role in RECIPES}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("checker") / "checker.safetensors"
    return path, train_image_checker(path, "short", cases=128, epochs=2, seed=3, width=4, start=0, evaluate=24)


def test_what_is_written_is_what_is_read_and_what_was_measured(trained):
    path, checker = trained
    again = PhantomV2ImageChecker.load(path)
    assert (again.fingerprint, again.name) == (checker.fingerprint, "short")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["data"]["pictures"] == PICTURES_FINGERPRINT
    assert card["labels"] == list(LABELS)
    assert isinstance(again, Checker)
    assert again([]) == []
    for side in (64, 128):
        dataset = PhantomV2(side)
        pairs = [dataset.pair("test", index) for index in range(24)]
        truth = np.array([[label in pair.findings for label in LABELS] for pair in pairs])
        read = np.array([[label in found for label in LABELS] for found in again([pair.image for pair in pairs])])
        assert f1_scores(read, truth).mean() == pytest.approx(card["accuracy"]["test"][f"{side} px"]["macro_f1"], abs=1e-3)


def test_the_two_share_no_training_case():
    stretches = [range(recipe["start"], recipe["start"] + recipe["cases"]) for recipe in RECIPES.values()]
    assert not set(stretches[0]) & set(stretches[1])
    assert RECIPES["score"]["seed"] != RECIPES["steer"]["seed"]
    assert RECIPES["score"]["width"] != RECIPES["steer"]["width"]


@pytest.mark.parametrize("role", RECIPES)
def test_a_shipped_checker_is_small_and_of_this_data(role):
    path = SHIPPED[role]
    card = json.loads(path.with_suffix(".json").read_text())
    assert path.stat().st_size <= 1_500_000
    assert card["data"]["pictures"] == PICTURES_FINGERPRINT
    assert {key: card[key] for key in ("epochs", "seed", "width")} == {k: RECIPES[role][k] for k in ("epochs", "seed", "width")}
    assert (card["data"]["start"], card["data"]["cases"]) == (RECIPES[role]["start"], RECIPES[role]["cases"])
    assert card["accuracy"]["test"]["n"] == 8192


def test_the_shipped_scoring_checker_is_accurate():
    checker = PhantomV2().image_checker()
    assert checker.accuracy["test"]["64 px"]["macro_f1"] >= 0.95
    assert checker.accuracy["test"]["128 px"]["macro_f1"] >= 0.97
    for side, floor in ((64, 0.93), (128, 0.94), (256, 0.9)):
        dataset, count = PhantomV2(side), 40 if side > 128 else 160
        pairs = [dataset.pair("test", index) for index in range(count)]
        read = np.array([[label in found for label in LABELS] for found in checker([pair.image for pair in pairs])])
        truth = np.array([[label in pair.findings for label in LABELS] for pair in pairs])
        micro = 2 * (read & truth).sum() / (read.sum() + truth.sum())
        assert micro > floor


def test_the_one_that_steers_is_another():
    dataset = PhantomV2()
    scoring, steering = dataset.image_checker(), dataset.steering_image_checker()
    assert scoring.fingerprint != steering.fingerprint
    assert scoring.name != steering.name
    assert isinstance(steering, Checker)
    assert steering.accuracy["test"]["64 px"]["macro_f1"] > 0.9
