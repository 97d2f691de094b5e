"""A finding is present where the largest of its labels' probabilities reaches the threshold of the best F1."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.dataset import Checker, Described
from medim.sampling.steering import Graded
from tasks.adapters.checkers.image_checker import DEFAULT, ImageChecker, best_threshold
from tasks.adapters.checkers.kinds import Classifier
from tasks.adapters.checkers.label_map import Entry, LabelMap

LABELS = ("Nodule", "Mass", "Edema")


class Levels:
    """Reads the probability of each label from a channel."""

    name, weights, feed, labels = "levels", "w1", "as they are", LABELS

    def probabilities(self, images: Sequence[Image.Image]) -> np.ndarray:
        return np.array([np.array(image.getpixel((0, 0))) / 100 for image in images]).reshape(-1, 3)


def picture(*percent: int) -> Image.Image:
    return Image.new("RGB", (2, 2), percent)


def checker(**given) -> ImageChecker:
    return ImageChecker(Levels(), LabelMap.of(LABELS, ["edema", "lung lesion"], given, ""))


def test_it_is_what_tasks_and_steering_expect():
    one = checker()
    assert isinstance(Levels(), Classifier)
    assert isinstance(one, Checker)
    assert isinstance(one, Described)
    assert isinstance(one, Graded)
    assert one.labels == ("edema", "lung lesion")


def test_the_largest_of_several_labels_counts():
    one = checker()
    images = [picture(10, 90, 0), picture(60, 10, 50), picture(49, 49, 49)]
    np.testing.assert_allclose(one.probabilities(images), [[0, 0.9], [0.5, 0.6], [0.49, 0.49]])
    assert one(images) == [{"lung lesion"}, {"edema", "lung lesion"}, set()]
    assert one([]) == []


def test_thresholds_are_those_of_the_best_f1():
    one = checker()
    shown = [frozenset({"lung lesion"} if row >= 4 else ()) for row in range(10)]
    images = [picture(5 * row, 0, 30) for row in range(10)]
    before = one.fingerprint
    one.choose(images, shown, "val")
    assert one.thresholds == {"edema": DEFAULT, "lung lesion": pytest.approx(0.175)}
    assert one.origins == {"edema": "default", "lung lesion": "val: 6 of 10 cases show it"}
    assert one(images) == shown
    assert one.fingerprint != before
    again = checker()
    again.thresholds, again.origins = dict(one.thresholds), dict(one.origins)
    assert (again.fingerprint, again.details()) == (one.fingerprint, one.details())


def test_a_given_threshold_stays():
    one = checker(Mass=None, Nodule=None, Edema=Entry(finding="edema", threshold=0.25))
    one.choose([picture(0, 0, row) for row in range(20)], [frozenset({"edema"} if row > 9 else ()) for row in range(20)], "val")
    assert (one.labels, one.thresholds, one.origins) == (("edema",), {"edema": 0.25}, {"edema": "given"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((1, 2)), r"has to give \(1, 3\) in \[0, 1\], not \(1, 2\) in \[0, 0\]"),
        (np.full((1, 3), 1.5), r"not \(1, 3\) in \[1.5, 1.5\]"),
        (np.full((1, 3), np.nan), r"not \(1, 3\) in \[nan, nan\]"),
        (None, "image checker 'levels' failed: ValueError: broken"),
    ],
)
def test_what_is_no_probability_is_refused(values, message, monkeypatch):
    def given(self, images):
        if values is None:
            raise ValueError("broken")
        return values

    monkeypatch.setattr(Levels, "probabilities", given)
    with pytest.raises(UserError, match=message):
        checker()([picture(1, 2, 3)])


def brute_force(values: np.ndarray, shown: np.ndarray) -> float:
    def f1(threshold: float) -> float:
        there = values >= threshold
        return 2 * (there & shown).sum() / (there.sum() + shown.sum())

    return max(f1(value) for value in values)


def test_no_threshold_is_better():
    generator = np.random.default_rng(0)
    for _ in range(50):
        values, shown = generator.integers(0, 8, 12) / 8, generator.random(12) < 0.5
        if shown.any():
            there = values >= best_threshold(values, shown)
            assert 2 * (there & shown).sum() / (there.sum() + shown.sum()) == pytest.approx(brute_force(values, shown))
