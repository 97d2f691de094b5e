"""The network gives what TorchXRayVision's gives on the same weights, and takes a file whole or not at all."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medim.common.errors import UserError
from medim.perception.densenet import PATHOLOGIES, ChestNet
from medim.perception.space import FeatureSpace, open_features

# From torchxrayvision 1.5.2 (`models.DenseNet`: `features2` and `classifier`, float32, one thread) with the weights of
# `conftest.formula_weights` and the image of `formula_image`.
FEATURES = [0.0, 258.34387, 28.09914, 1104.38196, 153.17105, 682.89148, 1256.87622, 0.0]  # every 128th
FEATURES_SUM = 403553.0473176399
LOGITS = [562.1446, 740.8968, -195.1383, 383.6173, -762.8236, -649.9783, 428.4647, 335.1415, 344.346, -16.5507]
POINTS = torch.tensor([0.1, 0.2, float("nan"), *[0.5] * 15])


def formula_image() -> torch.Tensor:
    """One image (1, 3, 224, 224) in [-1, 1] of whole grey levels."""
    c, y, x = np.meshgrid(range(3), range(224), range(224), indexing="ij")
    return torch.from_numpy((x * 3 + y * (5 + 2 * c) + x * y // 7 + 31 * c) % 256).float()[None] / 127.5 - 1


@pytest.fixture(scope="module")
def net(densenet_state, tmp_path_factory) -> ChestNet:
    path = tmp_path_factory.mktemp("weights") / "all.pt"
    torch.save(densenet_state, path)
    return ChestNet(path)


def test_features_and_logits_are_torchxrayvisions(net, densenet_state):
    assert len(densenet_state) == 727
    features = net.features(formula_image())
    assert features.shape == (1, 1024)
    np.testing.assert_allclose(features[0, ::128], FEATURES, rtol=1e-4)
    np.testing.assert_allclose(features.double().sum(), FEATURES_SUM, rtol=1e-6)
    np.testing.assert_allclose(net.logits(features)[0, :10], LOGITS, rtol=1e-3)
    assert net.labels == PATHOLOGIES
    assert set(net.thresholds) == {0.5}
    assert isinstance(net, FeatureSpace)


def test_operating_points_name_what_was_trained(net, densenet_state, tmp_path):
    save_file({**densenet_state, "op_threshs": POINTS}, tmp_path / "nih.safetensors")
    some = ChestNet(tmp_path / "nih.safetensors")
    assert some.labels == PATHOLOGIES[:2] + PATHOLOGIES[3:]
    np.testing.assert_allclose(some.thresholds[:3], (0.1, 0.2, 0.5), rtol=1e-6)
    features = net.features(formula_image())
    assert torch.equal(some.logits(features), net.logits(features)[:, [0, 1, *range(3, 18)]])
    assert some.weights == net.weights  # whatever the file is called, and of whatever kind it is


def test_any_size_is_resized_and_averaged(net):
    small = formula_image()[..., ::2, ::2]
    grey = small.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    np.testing.assert_allclose(net.features(small), net.features(grey), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("damage", ["missing", "unexpected", "shape", "points", "module"])
def test_another_file_is_refused(damage, densenet_state, tmp_path):
    tensors = dict(densenet_state)
    first = "features.denseblock1.denselayer1.norm1.weight"
    if damage == "missing":
        del tensors[first]
    elif damage == "unexpected":
        tensors["features.denseblock1.denselayer7.norm1.weight"] = tensors[first]
    elif damage == "shape":
        tensors["classifier.weight"] = tensors["classifier.weight"][:14]
    elif damage == "points":
        tensors["op_threshs"] = POINTS[:14]
    torch.save(torch.nn.Linear(1, 1) if damage == "module" else tensors, tmp_path / "other.pt")
    named = {"missing": "1 of 727", "unexpected": "denselayer7", "shape": "classifier.weight", "points": "op_threshs"}
    with pytest.raises(UserError, match=named.get(damage, "state_dict alone")) as error:
        ChestNet(tmp_path / "other.pt")
    assert "other.pt" in str(error.value)
    assert "torchxrayvision.models.DenseNet" in str(error.value)


def test_a_file_is_a_feature_space_of_that_name(densenet_state, tmp_path):
    save_file(densenet_state, tmp_path / "all.safetensors")
    space = open_features(f"torchxrayvision:{tmp_path / 'all.safetensors'}")
    assert isinstance(space, ChestNet)
    assert (space.name, space.title) == ("torchxrayvision:all.safetensors", "all")
