"""Worlds: registered under their names, and alike in what callers use."""

import pytest

from medim.data.loading import load_dataset
from medim.data.phantom import DEFAULT
from medim.data.phantom.worlds import WORLDS, default_world


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_is_the_data_set_of_its_name(name):
    dataset = load_dataset(f"{name}:resolution=32")
    assert type(dataset) is WORLDS[name]
    assert dataset.with_resolution(64).fingerprint == WORLDS[name]().fingerprint != dataset.fingerprint
    assert dataset.pair("val", 0).image.size == (32, 32)
    assert dataset.openings
    assert all(dataset.probe("val", index) is None or dataset.probe("val", index).label in dataset.labels for index in range(4))


def test_the_default_is_one_of_them():
    assert type(default_world(32)) is WORLDS[DEFAULT]
    assert default_world(32).resolution == 32
