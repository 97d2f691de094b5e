from dataclasses import replace

import pytest
from PIL import Image

from tasks.augmentation.arms import Arm, Pools, arms_of, needed, training_of
from tasks.augmentation.settings import ARMS, AugmentationSettings
from tasks.downstream.contract import Example

IMAGE = Image.new("RGB", (8, 8))


def pool(prefix: str, count: int) -> list[Example]:
    return [
        Example(f"{prefix}{n}", f"{prefix}-patient{n}", IMAGE, f"{prefix} report {n}", frozenset({str(n)}))
        for n in range(count)
    ]


@pytest.fixture
def pools() -> Pools:
    real = pool("r", 10)
    placebo = [replace(example, id=f"offered-{example.id}") for example in real]
    return Pools(real, pool("f", 40), pool("s", 40), pool("p", 10), placebo)


@pytest.fixture
def settings() -> AugmentationSettings:
    return AugmentationSettings(title="all", arms=tuple(ARMS), levels=(25, 400), more_real=(100,), steps=50)


def test_every_arm_takes_the_same_steps_but_the_one_of_equal_passes(pools, settings):
    trainings = {arm.name: training_of(arm, pools, 50, 0) for arm in arms_of(settings)}
    assert {name: training.steps for name, training in trainings.items() if training.steps != 50} == {"real": 25}
    assert {name for name, training in trainings.items() if training.augment} == {"real+classical"}
    assert {name: (len(one.examples), one.added) for name, one in trainings.items()} == {
        "real": (10, 0),
        "real-repeated": (20, 0),
        "real+classical": (20, 0),
        "real+synthetic 25 %": (12, 2),
        "real+synthetic 400 %": (50, 40),
        "synthetic-only": (10, 10),
        "real+shuffled": (20, 10),
        "real+pseudo": (20, 10),
        "more-real 100 %": (20, 10),
        "real-as-synthetic": (20, 10),
    }
    for training in trainings.values():
        assert len({example.id for example in training.examples}) == len(training.examples)


def test_the_placebo_shows_the_same_pairs_in_the_same_order_as_real_repeated(pools):
    shown = [
        [(example.image, example.report) for example in training_of(Arm(kind), pools, 50, 0).examples]
        for kind in ("real-repeated", "real-as-synthetic")
    ]
    assert shown[0] == shown[1]


def test_shuffled_pairs_keep_images_and_reports_and_no_pair(pools):
    added = training_of(Arm("real+shuffled"), pools, 50, 0).examples[10:]
    whole = list(pools.synthetic[:10])
    assert [example.id for example in added] == [example.id for example in whole]
    assert sorted(example.report for example in added) == sorted(example.report for example in whole)
    assert all(example.report != other.report for example, other in zip(added, whole, strict=True))
    assert all(example.findings == frozenset({example.report.split()[-1]}) for example in added)
    assert added == training_of(Arm("real+shuffled"), pools, 50, 0).examples[10:]
    assert added != training_of(Arm("real+shuffled"), pools, 50, 1).examples[10:]


def test_levels_are_nested(pools):
    less, more = (training_of(Arm("real+synthetic", level), pools, 50, 0).examples for level in (100, 200))
    assert more[: len(less)] == less


def test_only_generated_pairs_are_the_system_under_test(settings):
    assert [arm.name for arm in arms_of(settings) if arm.generated] == [
        "real+synthetic 25 %",
        "real+synthetic 400 %",
        "synthetic-only",
    ]


def test_needed_is_what_the_largest_arm_takes(settings):
    assert needed(arms_of(settings), 10) == {"synthetic": 40, "pseudo": 10, "further": 10, "placebo": 10}
    assert needed([Arm("real-repeated")], 10) == {"synthetic": 0, "pseudo": 0, "further": 0, "placebo": 0}


def test_a_pool_that_is_too_small_is_refused(pools):
    with pytest.raises(ValueError, match="60 pairs are needed and there are 40"):
        training_of(Arm("real+synthetic", 600), pools, 50, 0)
