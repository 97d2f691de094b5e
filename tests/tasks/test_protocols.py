import dataclasses

import pytest

from tasks.protocols import Generator, Prediction, Reconstructs


def test_a_generator_needs_no_base_class(world):
    assert isinstance(world.perfect(world.cases), Generator)
    assert isinstance(world.blur, Reconstructs)
    assert not isinstance(world.blur, Generator)


def test_predictions_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Prediction("a").report = "b"
    with pytest.raises(TypeError):
        Prediction("a").cost["seconds"] = 1.0
