"""Sweeps are data: those that ship fit the settings, a mistake is told in a line; a sweep goes on where it was killed."""

import csv
import json

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.speed import samplers
from benchmark.speed.sweep import SWEEPS, frontier, load_sweep, write_results
from medim.common.errors import UserError
from medim.common.files import file_name
from medim.sampling.settings import ReleasedSettings, SamplerSettings

QUICK = """
title: quick
tasks: [joint-generation, image-generation, report-generation]
samplers:
  own: {}
  guided: {image.guidance: 1.0}
"""
SETTINGS = ("image.steps=2", "report.steps=2", "image.guidance=0", "cache.refresh=1")
STEPS = [word for setting in SETTINGS for word in ("--set", f"sampling.{setting}")]


@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS.glob("*.yaml")))
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
        (
            "title: a\nsamplers: {x: {image.step: 3}}",
            "sampler 'x' of the sweep: unknown sampler setting 'image.step'; did you mean",
        ),
        (
            "title: a\nsamplers: {x: {image.steps: 0}}",
            "sampler 'x' of the sweep: sampler settings: field 'image.steps': Input should be",
        ),
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


def test_the_frontier_is_what_nothing_beats():
    assert frontier([(1, 0.5), (2, 0.4), (2, 0.6), (3, 0.6), (4, 0.9)]) == [True, False, True, False, True]
    assert frontier([(1, 0.5), (1, 0.5)]) == [True, True]


def test_an_old_picture_does_not_stand_for_a_sweep_without_scores(tmp_path):
    (tmp_path / "pareto.png").write_text("old")
    write_results(tmp_path, [], [], {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample_speed.csv", "sample_speed.json"]


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Calls the command on the shipped model with two rounds a sample, and a roof that is not measured."""
    theirs = SamplerSettings(procedure="released", released=ReleasedSettings(steps=2))
    monkeypatch.setattr(samplers, "SAMPLER", theirs)
    monkeypatch.setattr(samplers, "matmul_seconds", lambda device, bf16: 0.5)
    (tmp_path / "quick.yaml").write_text(QUICK)
    monkeypatch.setattr("tasks.generation.joint.task.domain_scores", lambda *_: [])
    monkeypatch.setattr("benchmark.speed.samplers.domain_scores", lambda *_: [])

    def call(*more: str):
        arguments = ["speed", "sample", "--model", "phantom-tiny", "--data", "phantom", "--n", "16", "--batch-size", "8"]
        arguments += ["--sweep", str(tmp_path / "quick.yaml"), "--device", "cpu", "--out", str(tmp_path / "out"), *STEPS]
        return CliRunner().invoke(main, [*arguments, *more])

    return call


@pytest.mark.slow
def test_a_sweep_from_the_command_line(quick, tmp_path, monkeypatch):
    out, draw = tmp_path / "out", samplers.Bench.draw

    def killed(self, task, name, system):
        if name == "guided":
            raise KeyboardInterrupt
        return draw(self, task, name, system)

    monkeypatch.setattr(samplers.Bench, "draw", killed)
    assert quick().exit_code != 0
    assert (out / "stages/sampler-own.json").exists()
    before = (out / "stages/sampler-own.json").stat().st_mtime_ns
    monkeypatch.setattr(samplers.Bench, "draw", draw)
    result = quick("--baselines", "--rounds", "1")
    assert result.exit_code == 0, result.output
    assert (out / "stages/sampler-own.json").stat().st_mtime_ns == before
    found = json.loads((out / "sample_speed.json").read_text())
    own, guided = found["samplers"]
    speed = own["tasks"]["joint-generation"]["speed"]
    assert speed["forwards"] == 2
    assert speed["active_tokens"] == 2 * 114
    assert guided["tasks"]["joint-generation"]["speed"]["flops_per_sample"] > 1.2 * speed["flops_per_sample"]
    assert own["roof"] == 2 * samplers.ROOF_SIDE**3 / 0.5
    line = json.loads((out / "samples/joint-generation/own/generated.jsonl").read_text().splitlines()[0])
    assert {"seconds", "forwards", "active_tokens", "flops"} == set(line["cost"])
    with (out / "sample_speed.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [(row["task"], row["sampler"]) for row in table] == [
        (task, name) for task in samplers.HEADLINES for name in ("own", "guided")
    ]
    assert (out / "pareto.png").stat().st_size > 10_000
    theirs = found["released"]["tasks"]
    assert set(theirs) == set(samplers.HEADLINES)
    assert theirs["image-generation"]["worth"]["reason"].startswith("no interval: 12 patients")
    for row in theirs.values():
        assert set(row["ratio"]) == {"batch 1", "equal batch"}
    for task, positions in (("joint-generation", 2 * 114), ("image-generation", 3 * 114)):  # no second row without a report,
        kept = out / "samples" / task / file_name("baseline released") / "generated.jsonl"  # and none in the first step
        cost = json.loads(kept.read_text().splitlines()[0])["cost"]
        assert (cost["forwards"], cost["active_tokens"]) == (2, positions)
    assert "x as fast" in result.output
    assert "margin = 0.02, and now margin = 0.1" in quick("--margin", "0.1").stderr
