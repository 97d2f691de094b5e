"""Each kind gives the probabilities of its network; what cannot serve is refused in one line."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.imaging.images import to_tensor
from medim.perception.densenet import DenseNet121
from medim.perception.preprocess import normalised, resized
from tasks.adapters.checkers import kinds
from tasks.adapters.checkers.kinds import open_checker
from tasks.metrics.clinical.chest_labels import LABELS

IMAGES = [Image.effect_noise((24, 24), 60 + 20 * row).convert("RGB") for row in range(3)]


@pytest.mark.parametrize(("problem", "summed"), [("multi_label_classification", False), ("single_label_classification", True)])
def test_transformers_by_its_problem_type(problem, summed, vit, tmp_path):
    model = vit(tmp_path / "vit", problem)
    one = open_checker("image", f"transformers:{tmp_path / 'vit'}", "cpu")
    assert (one.name, one.labels) == ("transformers:vit", ("Effusion", "Edema", "No Finding"))
    with torch.no_grad():
        logits = model(pixel_values=normalised(resized(to_tensor(IMAGES), 32), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))).logits
    expected = logits.softmax(1) if summed else logits.sigmoid()
    found = one.probabilities(IMAGES)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    assert np.allclose(found.sum(1), 1) == summed
    mixed = [IMAGES[0], IMAGES[1].resize((40, 40)), IMAGES[2]]
    np.testing.assert_allclose(one.probabilities(mixed)[[0, 2]], found[[0, 2]], atol=1e-6)


def test_transformers_without_a_problem_type_or_a_tensor_is_refused(vit, tmp_path):
    model = vit(tmp_path / "vit", None)
    with pytest.raises(UserError, match=r"config.json: unknown problem_type 'None'.*multi_label_classification"):
        open_checker("image", f"transformers:{tmp_path / 'vit'}", "cpu")
    model.config.problem_type = "multi_label_classification"
    state = {name: value for name, value in model.state_dict().items() if name != "classifier.weight"}
    model.save_pretrained(tmp_path / "vit", state_dict=state)
    with pytest.raises(UserError, match=r"classifier\.weight"):
        open_checker("image", f"transformers:{tmp_path / 'vit'}", "cpu")


def test_torchxrayvisions_operating_points_lie_at_one_half(tmp_path):
    torch.manual_seed(0)
    state = DenseNet121().state_dict()
    points = torch.full((18,), 0.5)
    torch.save({**state, "op_threshs": points}, tmp_path / "plain.pt")
    plain = open_checker("image", f"torchxrayvision:{tmp_path / 'plain.pt'}", "cpu")
    p = plain.probabilities(IMAGES[:1])
    points[:3] = torch.tensor([p[0, 0], p[0, 1] / 2, float("nan")])
    torch.save({**state, "op_threshs": points}, tmp_path / "points.pt")
    one = open_checker("image", f"torchxrayvision:{tmp_path / 'points.pt'}", "cpu")
    found = one.probabilities(IMAGES[:1])
    assert found.shape == (1, 17)
    assert "Infiltration" not in one.labels
    np.testing.assert_allclose(found[0, 0], 0.5, atol=1e-6)
    np.testing.assert_allclose(found[0, 1], 1 - (1 - p[0, 1]) / (2 - p[0, 1]), atol=1e-6)
    np.testing.assert_allclose(found[0, 2:], p[0, 3:], atol=1e-6)
    assert (one.weights, one.feed != plain.feed) == (plain.weights, True)


def test_the_labeller_gives_positive_labels_alone():
    one = open_checker("report", "labeller", "cpu")
    assert one.labels == LABELS
    reports = ["There is a pleural effusion. No edema. Possible pneumonia.", "Normal chest."]
    assert one(reports) == [{"Pleural Effusion"}, {"No Finding"}]


class Plugin:
    name, weights, feed, labels = "mine", "w", "none", ("a",)

    def probabilities(self, images):
        return np.full((len(images), 1), 0.7)


def mine(argument, device):
    if argument == "broken":
        raise RuntimeError("no such network\nat all")
    return Plugin() if argument is None else object()


def test_packages_register_theirs(monkeypatch):
    entry = EntryPoint("mine", f"{__name__}:mine", kinds.ENTRY_POINTS)
    monkeypatch.setattr(kinds, "entry_points", lambda group: [entry] if group == kinds.ENTRY_POINTS else [])
    monkeypatch.setattr(EntryPoint, "load", lambda self: mine)
    assert open_checker("image", "mine", "cpu").probabilities(IMAGES).tolist() == [[0.7]] * 3
    with pytest.raises(UserError, match="cannot serve image=: it lacks one of name, weights, feed, labels and probabilities"):
        open_checker("image", "mine:other", "cpu")
    with pytest.raises(UserError, match="cannot serve report=: it lacks one of name, fingerprint"):
        open_checker("report", "mine", "cpu")
    with pytest.raises(UserError, match=r"checker 'mine' .*RuntimeError: no such network"):
        open_checker("image", "mine:broken", "cpu")


@pytest.mark.parametrize(
    ("modality", "spec", "message"),
    [
        ("image", "torchxrayvison:x", "unknown checker of images 'torchxrayvison'; did you mean 'torchxrayvision'"),
        ("report", "torchxrayvision:x", "unknown checker of reports"),
        ("image", "torchxrayvision", "needs FILE: torchxrayvision:FILE"),
        ("report", "labeller:x", "takes no file"),
        ("image", "torchxrayvision:none.pt", "'none.pt' does not exist"),
        ("image", "predictions:none.csv", "none.csv"),
        ("report", "chexbert:none", "holds no 'chexbert.pth'"),
    ],
)
def test_what_cannot_be_opened_is_one_line(modality, spec, message):
    with pytest.raises(UserError, match=message) as error:
        open_checker(modality, spec, "cpu")
    assert "\n" not in str(error.value)
