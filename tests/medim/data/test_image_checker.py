"""What the checkers of both phantoms share: files and their mistakes, sizes of pictures, the network."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from medim.common.errors import UserError
from medim.data.image_checker import to_pixels
from medim.data.phantom.v1.dataset import WEIGHTS as WEIGHTS_V1
from medim.data.phantom.v1.image_checker import PhantomImageChecker, PhantomNet
from medim.data.phantom.v2.dataset import WEIGHTS as WEIGHTS_V2
from medim.data.phantom.v2.reading.image_checker import PhantomV2ImageChecker, PhantomV2Net

CHECKERS = {PhantomImageChecker: WEIGHTS_V1, PhantomV2ImageChecker: WEIGHTS_V2}


@pytest.fixture(params=CHECKERS, ids=lambda kind: kind.__name__)
def shipped(request, tmp_path):
    """Class of a checker, and a copy of the shipped one's weights; the card lies beside it."""
    for suffix in ("safetensors", "json"):
        shutil.copy(CHECKERS[request.param] / f"image_checker_score.{suffix}", tmp_path / f"c.{suffix}")
    return request.param, tmp_path / "c.safetensors"


def write_card(path, **changes):
    card = json.loads(path.with_suffix(".json").read_text()) | changes
    card = {key: value for key, value in card.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(card))


def test_a_copy_is_the_same_checker_by_content_and_name(shipped):
    kind, path = shipped
    original = kind.load(CHECKERS[kind] / "image_checker_score.safetensors")
    assert kind.load(path).name == original.name
    card = json.loads(path.with_suffix(".json").read_text())
    assert sum(parameter.numel() for parameter in original.network.parameters()) == card["parameters"]
    assert kind.load(path).thresholds.tolist() == original.thresholds.tolist()
    before = kind.load(path).fingerprint
    write_card(path, seed=99)
    assert kind.load(path).fingerprint != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["x"]}, "not those of this phantom"),
        ({"thresholds": {"x": 0.5}}, "not those of this phantom"),
        ({"width": None}, "field 'width' is missing; train it anew with `"),
        ({"width": 9}, "not the weights of an image checker of width 9"),
    ],
)
def test_a_wrong_card_is_told(shipped, changes, message):
    kind, path = shipped
    write_card(path, **changes)
    with pytest.raises(UserError, match=message):
        kind.load(path)


def test_missing_broken_and_foreign_files_are_told(shipped, tmp_path):
    kind, path = shipped
    with pytest.raises(UserError, match=f"none.safetensors: the image checker is missing; .*{kind.training}"):
        kind.load(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not the weights of an image checker of width"):
        kind.load(path)
    path.with_suffix(".json").write_text("{\n oops")
    with pytest.raises(UserError, match=r"broken JSON: .*line 2"):
        kind.load(path)


def test_one_phantom_does_not_take_the_others_weights(tmp_path):
    for suffix in ("safetensors", "json"):
        shutil.copy(WEIGHTS_V1 / f"image_checker_score.{suffix}", tmp_path / f"c.{suffix}")
    with pytest.raises(UserError, match="field 'name' is missing"):
        PhantomV2ImageChecker.load(tmp_path / "c.safetensors")


@pytest.mark.parametrize("side", [64, 128])
def test_images_of_any_size_and_mode_become_square(side):
    images = [Image.new("L", (300, 200), 255), Image.new("RGBA", (64, 64), (255, 0, 0, 255)), Image.new("RGB", (512, 512))]
    pixels = to_pixels(images, side)
    assert pixels.shape == (3, 3, side, side)
    assert pixels.dtype == torch.uint8
    assert pixels[0].min() == 255
    assert pixels[1, :, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", [PhantomNet, PhantomV2Net])
def test_the_network_tells_left_from_right(kind):
    network = kind(4, 18)
    network.initialise(torch.Generator().manual_seed(0))
    network.eval()
    side = kind.side
    image = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    image[:, :, side // 3 : 2 * side // 3, side // 8 : side // 3] = 255
    assert (network(image) - network(image.flip(3))).abs().max() > 1e-2


def test_the_type_of_a_model_around_it_changes_nothing(shipped):
    kind, path = shipped
    checker = kind.load(path)
    images = [Image.new("RGB", (64, 64), (40 * i, 90, 200 - 30 * i)) for i in range(4)]
    alone = checker.probabilities(images)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(checker.probabilities(images), alone)


def test_a_lost_or_renamed_tensor_and_a_pointer_are_told(shipped):
    kind, path = shipped
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
            kind.load(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="git lfs pull"):
        kind.load(path)


@pytest.mark.parametrize("value", ["48", None, [1], float("nan"), 10**18, -1, {"a": 1}, True])
def test_a_card_of_wrong_types_is_told_in_one_line(shipped, value):
    kind, path = shipped
    card = json.loads(path.with_suffix(".json").read_text())
    for field in kind.fields:
        path.with_suffix(".json").write_text(json.dumps(card | {field: value}))
        if (field == "name" and value == "48") or (field == "accuracy" and isinstance(value, dict)):
            continue
        with pytest.raises(UserError) as error:
            kind.load(path)
        assert "\n" not in str(error.value)
        assert field in str(error.value) or "labels" in str(error.value)
