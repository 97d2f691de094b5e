"""Training the checkers: what it learns from, and that it depends on its seed alone."""

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.data.phantom.v2.cases import sample_case
from medim.data.phantom.v2.names import LABELS
from medim.data.phantom.v2.reading.image_checker_training import render, some_twin, train_image_checker, training_cases


def test_each_case_comes_with_a_twin():
    cases = training_cases(10, 40, seed=0)
    assert len(cases) == 80
    for original, other in zip(cases[::2], cases[1::2], strict=True):
        assert original == sample_case("train", original.index)
        assert len(set(original.labels) ^ set(other.labels)) == 1
    assert [case.index for case in cases[::2]] == list(range(10, 50))
    assert training_cases(10, 40, seed=0) == cases
    assert training_cases(10, 40, seed=1) != cases


def test_hard_findings_are_changed_more_often():
    rng = np.random.default_rng(0)
    case = next(case for case in (sample_case("train", i) for i in range(0, 100, 2)) if not case.findings)
    changed = [some_twin(case, rng).labels[0] for _ in range(400)]
    assert changed.count("left nodule") > 1.8 * changed.count("pacemaker")


def test_rendering_gives_pixels_and_labels():
    cases = [sample_case("val", index) for index in range(4)]
    pixels, targets = render(cases, 64)
    assert (pixels.shape, pixels.dtype, targets.shape) == ((4, 3, 64, 64), torch.uint8, (4, len(LABELS)))
    assert [{LABELS[i] for i in row.nonzero().flatten()} for row in targets] == [set(case.labels) for case in cases]


def test_training_depends_on_its_seed_alone(tmp_path):
    torch.set_num_threads(1)
    for name, seed, foreign in (("a", 3, 99), ("b", 3, 7), ("c", 4, 7)):
        torch.manual_seed(foreign)
        train_image_checker(tmp_path / f"{name}.safetensors", "x", 128, epochs=1, seed=seed, width=4, start=0, evaluate=8)
    a, b, c = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(("cases", "start"), [(64, 0), (256, 262_000), (256, -1)])
def test_a_stretch_outside_the_split_is_told(tmp_path, cases, start):
    with pytest.raises(UserError, match=r"must be at least 128 within 0\.\.262144"):
        train_image_checker(tmp_path / "d.safetensors", "x", cases, epochs=1, seed=0, width=4, start=start)
