"""Sweeps are data: those that ship fit the settings, and a mistake in one is told in a line."""

import pytest

from benchmark.speed.sweeps import load_sweep, names
from medim.common.errors import UserError
from medim.pipeline import SamplerSettings


@pytest.mark.parametrize("name", names())
def test_every_sweep_that_ships_is_one(name):
    settings = load_sweep(name).settings(SamplerSettings())
    assert settings["own"] == SamplerSettings()


def test_the_default_moves_one_thing_at_a_time():
    samplers = load_sweep("default").samplers
    assert 12 <= len(samplers) <= 20
    moved = {key for changes in samplers.values() for key in changes}
    assert {"image.steps", "report.steps", "report.temperature", "report.order", "image.guidance", "cache.refresh"} <= moved


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\nsamplers: {x: {image.step: 3}}", "sampler 'x' of the sweep: unknown sampler setting 'step'; did you mean"),
        ("title: a\nsamplers: {x: {image.steps: 0}}", "sampler 'x' of the sweep: sampler setting steps: 0 is out of range"),
        (
            "title: a\ntasks: [joint-generatoin]\nsamplers: {x: {}}",
            "unknown task 'joint-generatoin'; did you mean 'joint-generation'",
        ),
        ("title: a", "field 'samplers': Field required"),
        ("title: a\nsamplers: {x: {}}\ntask: []", "unknown field 'task'; did you mean 'tasks'"),
        ("3", "a mapping of fields to values is needed"),
        ("title: [", "broken YAML"),
    ],
)
def test_a_mistake_is_told(tmp_path, text, message):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_sweep(str(tmp_path / "s.yaml")).settings(SamplerSettings())


def test_a_sweep_that_is_nowhere_is_told():
    with pytest.raises(UserError, match="did you mean 'default'"):
        load_sweep("defalt")
    with pytest.raises(UserError, match=r"--sweep nowhere\.yaml: no such file"):
        load_sweep("nowhere.yaml")
