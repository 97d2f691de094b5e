"""A feature space is opened from one line."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.perception import space as module
from medim.perception.space import DEFAULT, SPACES, Classifies, FeatureSpace, Precomputed, open_features


class Constant:
    name = title = "constant"
    fingerprint = "constant-1"
    resize = "none"
    trained_against = False

    def __init__(self, argument, device):
        self.given = argument, device

    def features(self, images):
        return images.new_ones(len(images), 2)


def register(monkeypatch, factory):
    monkeypatch.setattr(EntryPoint, "load", lambda self: factory)
    entry = EntryPoint("constant", "other_package.features:Constant", module.ENTRY_POINTS)
    monkeypatch.setattr(module, "entry_points", lambda group: [entry] if group == "medim.features" else [])


def test_the_default_is_embedded_and_classifies():
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra 'scoring' is not installed")
    space = open_features(DEFAULT)
    assert isinstance(space, FeatureSpace)
    assert isinstance(space, Classifies)
    assert not isinstance(space, Precomputed)
    assert (space.title, space.trained_against, space.classes) == ("EfficientNet-Lite0", True, 1000)
    with pytest.raises(UserError, match="takes no argument"):
        open_features("efficientnet-lite0:other.pth")


def test_inception_by_path(inception_file):
    space = open_features(f"inception:{inception_file}")
    assert isinstance(space, FeatureSpace)
    assert isinstance(space, Classifies)
    assert not space.antialias
    assert open_features(f"inception-clean:{inception_file}").antialias


def test_an_array_by_path(tmp_path):
    np.savez(tmp_path / "a:b.npz", ids=["x"], features=np.ones((1, 2)))  # only the first colon divides
    space = open_features(f"array:{tmp_path}/a:b.npz")
    assert isinstance(space, Precomputed)
    assert not isinstance(space, FeatureSpace)


def test_an_unknown_name_meets_the_nearest():
    with pytest.raises(UserError, match="unknown feature space 'incepton'; did you mean 'inception'"):
        open_features("incepton:/a/b")


@pytest.mark.parametrize("name", ["transformers", "timm", "open-clip", "torchxrayvision", "array"])
def test_what_needs_an_argument_says_so(name):
    assert name in SPACES
    with pytest.raises(UserError, match=f"'{name}' needs .*: {name}:"):
        open_features(name)


def test_other_packages_register_theirs(monkeypatch):
    register(monkeypatch, Constant)
    assert open_features("constant:a:b", "cuda").given == ("a:b", "cuda")
    assert open_features("constant").given == (None, "cpu")
    with pytest.raises(UserError, match=r"known: .*constant"):
        open_features("other")


def test_what_they_register_has_to_be_one(monkeypatch):
    register(monkeypatch, lambda argument, device: object())
    with pytest.raises(UserError, match=r"'constant' of other_package\.features:Constant is no feature space: it lacks"):
        open_features("constant")
