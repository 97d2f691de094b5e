"""What the checkers of both phantoms share: files and their mistakes, sizes of pictures, the network."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from medim.common.errors import UserError
from medim.data.dataset import Checker
from medim.data.phantom.image_checker import ANEW, FindingNet, ImageChecker, to_pixels
from medim.data.phantom.image_checker_training import f1_scores
from medim.data.phantom.labels import LABELS
from medim.data.phantom.worlds import WORLDS

V1, V2 = WORLDS["phantom"], WORLDS["phantom-v2"]


@pytest.fixture(params=WORLDS)
def shipped(request, tmp_path):
    """A world, and a copy of its shipped checker's weights; the card lies beside it."""
    world = WORLDS[request.param]
    for suffix in (".safetensors", ".json"):
        shutil.copy(world.checker_path("score").with_suffix(suffix), tmp_path / f"c{suffix}")
    return world, tmp_path / "c.safetensors"


def write_card(path, **changes):
    card = json.loads(path.with_suffix(".json").read_text()) | changes
    card = {key: value for key, value in card.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(card))


def test_a_copy_is_the_same_checker_by_content_and_name(shipped):
    world, path = shipped
    original = world().image_checker()
    assert ImageChecker.load(path, world.design).name == original.name
    card = json.loads(path.with_suffix(".json").read_text())
    assert sum(parameter.numel() for parameter in original.network.parameters()) == card["parameters"]
    assert ImageChecker.load(path, world.design).thresholds.tolist() == original.thresholds.tolist()
    before = ImageChecker.load(path, world.design).fingerprint
    write_card(path, seed=99)
    assert ImageChecker.load(path, world.design).fingerprint != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["x"]}, "not those of this phantom"),
        ({"thresholds": {"x": 0.5}}, "not those of this phantom"),
        ({"width": None}, "field 'width': Field required"),
        ({"width": 9}, "not the weights of an image checker of width 9"),
    ],
)
def test_a_wrong_card_is_told(shipped, changes, message):
    world, path = shipped
    write_card(path, **changes)
    with pytest.raises(UserError, match=message):
        ImageChecker.load(path, world.design)


def test_missing_broken_and_foreign_files_are_told(shipped, tmp_path):
    world, path = shipped
    with pytest.raises(UserError, match=f"none.safetensors: the image checker is missing; {ANEW}"):
        ImageChecker.load(tmp_path / "none.safetensors", world.design)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not the weights of an image checker of width"):
        ImageChecker.load(path, world.design)
    path.with_suffix(".json").write_text("{\n oops")
    with pytest.raises(UserError, match=r"broken JSON: .*line 2"):
        ImageChecker.load(path, world.design)


def test_one_phantom_does_not_take_the_others_weights():
    with pytest.raises(UserError, match="field 'name' is missing"):
        ImageChecker.load(V1.checker_path("score"), V2.design)


@pytest.mark.parametrize("side", [64, 128])
def test_images_of_any_size_and_mode_become_square(side):
    images = [Image.new("L", (300, 200), 255), Image.new("RGBA", (64, 64), (255, 0, 0, 255)), Image.new("RGB", (512, 512))]
    pixels = to_pixels(images, side)
    assert pixels.shape == (3, 3, side, side)
    assert pixels.dtype == torch.uint8
    assert pixels[0].min() == 255
    assert pixels[1, :, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("world", WORLDS.values())
def test_the_network_tells_left_from_right(world):
    network = FindingNet(world.design, 4)
    network.initialise(torch.Generator().manual_seed(0))
    network.eval()
    side = world.design.side
    image = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    image[:, :, side // 3 : 2 * side // 3, side // 8 : side // 3] = 255
    assert (network(image) - network(image.flip(3))).abs().max() > 1e-2


def test_the_type_of_a_model_around_it_changes_nothing(shipped):
    world, path = shipped
    checker = ImageChecker.load(path, world.design)
    images = [Image.new("RGB", (64, 64), (40 * i, 90, 200 - 30 * i)) for i in range(4)]
    alone = checker.probabilities(images)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(checker.probabilities(images), alone)


def test_a_lost_or_renamed_tensor_and_a_pointer_are_told(shipped):
    world, path = shipped
    tensors = load_file(path)
    for changed, said in (
        (
            {name: tensor for name, tensor in tensors.items() if name != "head.bias"},
            r"1 of \d+ .* missing \(head\.bias\)",
        ),
        ({f"module.{name}": tensor for name, tensor in tensors.items()}, "a distributed model's"),
    ):
        save_file(changed, path)
        with pytest.raises(UserError, match=said):
            ImageChecker.load(path, world.design)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="git lfs pull"):
        ImageChecker.load(path, world.design)


@pytest.mark.parametrize("value", ["48", None, [1], float("nan"), 10**18, -1, {"a": 1}, True])
def test_a_card_of_wrong_types_is_told_in_one_line(shipped, value):
    world, path = shipped
    card = json.loads(path.with_suffix(".json").read_text())
    for field in ("labels", "thresholds", "width", "accuracy", *(() if world.design.name else ("name",))):
        path.with_suffix(".json").write_text(json.dumps(card | {field: value}))
        if (field == "name" and value == "48") or (field == "accuracy" and isinstance(value, dict)):
            continue
        with pytest.raises(UserError) as error:
            ImageChecker.load(path, world.design)
        assert "\n" not in str(error.value)
        assert field in str(error.value) or "labels" in str(error.value)


def truth_and_read(world, checker, side, count):
    """Boolean arrays (count, labels): what the first test pairs show, and what is read from them."""
    dataset = world(side)
    pairs = [dataset.pair("test", index) for index in range(count)]
    read = np.array([[label in found for label in LABELS] for found in checker([pair.image for pair in pairs])])
    return np.array([[label in pair.findings for label in LABELS] for pair in pairs]), read


def test_the_shipped_checker_of_version_1_is_accurate():
    checker = V1().image_checker()
    assert checker.accuracy["test"]["macro_f1"] >= 0.97
    for side, floor in ((64, 0.96), (128, 0.9)):
        truth, read = truth_and_read(V1, checker, side, 256)
        assert f1_scores(read, truth).mean() > floor


def test_the_shipped_checker_of_version_2_is_accurate():
    checker = V2().image_checker()
    assert checker.accuracy["test"]["64 px"]["macro_f1"] >= 0.95
    assert checker.accuracy["test"]["128 px"]["macro_f1"] >= 0.97
    for side, floor in ((64, 0.93), (128, 0.94), (256, 0.9)):
        truth, read = truth_and_read(V2, checker, side, 40 if side > 128 else 160)
        assert 2 * (read & truth).sum() / (read.sum() + truth.sum()) > floor


@pytest.mark.parametrize("world", WORLDS.values())
def test_the_one_that_steers_is_another_trained_on_other_cases(world):
    scoring, steering = world().image_checker(), world().steering_image_checker()
    assert isinstance(steering, Checker)
    assert scoring.fingerprint != steering.fingerprint
    assert (scoring.name == steering.name) == (world.design.name is not None)
    stretches = [range(recipe["start"], recipe["start"] + recipe["cases"]) for recipe in world.design.recipes.values()]
    assert not set(stretches[0]) & set(stretches[1])
    reached = steering.accuracy["test"].get("64 px", steering.accuracy["test"])
    assert reached["macro_f1"] > 0.9


@pytest.mark.parametrize("role", ["score", "steer"])
@pytest.mark.parametrize("world", WORLDS.values())
def test_a_shipped_checker_is_small_of_this_data_and_of_its_recipe(world, role):
    path, recipe = world.checker_path(role), world.design.recipes[role]
    card = json.loads(path.with_suffix(".json").read_text())
    assert path.stat().st_size <= 1_500_000
    assert world.pictures in (card["data"].get("pictures"), card["data"].get("fingerprint"))
    assert {key: card[key] for key in ("epochs", "seed", "width")} == {k: recipe[k] for k in ("epochs", "seed", "width")}
    assert (card["data"]["start"], card["data"].get("cases", card["data"].get("pairs"))) == (recipe["start"], recipe["cases"])
    assert card["accuracy"]["test"]["n"] == world.cohort.sizes["test"]
