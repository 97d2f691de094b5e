from collections import Counter

import pytest

from medim.common.errors import UserError
from medim.data.phantom import DEFAULT
from medim.data.phantom.worlds import WORLDS, default_world
from tasks import task_named
from tasks.baselines.systems import BASELINES, open_baseline
from tasks.protocols import Generator, Limited

TRAINING = 24


@pytest.fixture(scope="module")
def dataset():
    return default_world(32)


@pytest.fixture(scope="module")
def training(dataset):
    return [dataset.pair("train", index) for index in range(TRAINING)]


@pytest.fixture(scope="module")
def systems(dataset):
    return {name: open_baseline(name, dataset, "cpu", {"training": str(TRAINING)}) for name in BASELINES}


def test_each_is_a_generator_that_says_what_it_knows(systems):
    for name, system in systems.items():
        assert isinstance(system, Generator)
        assert system.resolution == 32
        assert system.settings() == system.settings() | {"baseline": name, "training": TRAINING}
        assert system.name not in ("real", "reconstruction", "shuffled", "constant")
    assert len({system.fingerprint for system in systems.values()}) == 4


def test_a_training_case_finds_itself(systems, training):
    system = systems["nearest-neighbour"]
    reports = [pair.report for pair in training]
    assert system.generate_reports([pair.image for pair in training[:5]], seeds=range(5)) == reports[:5]
    found = system.generate_images(reports[:5], seeds=range(5))
    assert [image.tobytes() for image in found] == [training[reports.index(report)].image.tobytes() for report in reports[:5]]
    assert isinstance(system, Limited)
    assert system.cannot(task_named("joint-generation")) == "it needs an image or a report to search by"
    assert system.cannot(task_named("report-generation")) is None
    with pytest.raises(UserError, match="from nothing"):
        system.generate_pairs([""], seeds=[0])


def test_a_copy_is_a_training_pair_verbatim(systems, training):
    known = {pair.image.tobytes(): pair.report for pair in training}
    pairs = systems["training-copy"].generate_pairs([""] * 40, seeds=range(40))
    assert all(known[image.tobytes()] == report for image, report in pairs)
    assert len({image.tobytes() for image, _ in pairs}) > 12
    again = systems["training-copy"].generate_pairs([""], seeds=[7])[0]
    assert (again[0].tobytes(), again[1]) == (pairs[7][0].tobytes(), pairs[7][1])


def test_shuffled_pairs_are_real_images_with_other_cases_reports(systems, training):
    known = {pair.image.tobytes(): pair.report for pair in training}
    reports = {pair.report for pair in training}
    pairs = systems["shuffled"].generate_pairs([""] * 20, seeds=range(20))
    assert all(report in reports and known[image.tobytes()] != report for image, report in pairs)


def test_constant_is_the_most_frequent_report(systems, training):
    frequent, _ = Counter(pair.report for pair in training).most_common(1)[0]
    assert systems["constant"].generate_reports([training[0].image] * 2, seeds=[0, 1]) == [frequent] * 2
    assert len({image.tobytes() for image in systems["constant"].generate_images(["x", "y"], seeds=[0, 1])}) == 1


def test_mistakes_are_named(dataset, monkeypatch):
    with pytest.raises(UserError, match="unknown baseline 'constnt'; did you mean 'constant'"):
        open_baseline("constnt", dataset, "cpu", {})
    with pytest.raises(UserError, match="did you mean 'training'"):
        open_baseline("constant", dataset, "cpu", {"trainin": "3"})
    monkeypatch.setattr(WORLDS[DEFAULT], "size", lambda self, split: 0)
    with pytest.raises(UserError, match="needs training pairs, and data set 'phantom' has none"):
        open_baseline("constant", dataset, "cpu", {})
