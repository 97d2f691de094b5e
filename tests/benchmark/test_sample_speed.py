"""Figures follow from what was measured; a sweep goes on where it was killed; baselines are held against the margin."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from benchmark import sample_speed, sample_speed_baselines
from benchmark.cli import main
from benchmark.sample_speed import speed_of
from benchmark.sample_speed_baselines import compare
from benchmark.sample_speed_results import frontier, write_results
from tasks.metrics.additive import Additive

QUICK = """
title: quick
tasks: [joint-generation, image-generation, report-generation]
samplers:
  own: {}
  guided: {image.guidance: 1.0}
"""
SETTINGS = ("image.steps=2", "report.steps=2", "image.guidance=0", "cache.refresh=1")
STEPS = [word for setting in SETTINGS for word in ("--set", f"sampling.{setting}")]


def test_figures_follow_from_costs():
    costs = [{"seconds": s, "flops": 6e9, "active_tokens": 100.0, "forwards": 4} for s in (0.5, 0.25, 9.0)]
    found = speed_of(costs, tokens=10, roof=48e9)
    assert found["samples_per_second"] == 2
    assert found["tokens_per_second"] == 20
    assert found["roof_share"] == pytest.approx(0.25)
    assert (found["forwards"], found["active_tokens"], found["flops_per_sample"]) == (4, 100, 6e9)


def test_the_frontier_is_what_nothing_beats():
    assert frontier([(1, 0.5), (2, 0.4), (2, 0.6), (3, 0.6), (4, 0.9)]) == [True, False, True, False, True]
    assert frontier([(1, 0.5), (1, 0.5)]) == [True, True]


def test_an_old_picture_does_not_stand_for_a_sweep_without_scores(tmp_path):
    (tmp_path / "pareto.png").write_text("old")
    write_results(tmp_path, [], [], {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample_speed.csv", "sample_speed.json"]


def score(hits) -> dict:
    additive = Additive.mean(hits, [str(k) for k in range(len(hits))], paired=False)
    return {"joint agreement": SimpleNamespace(additive=additive, value=additive.value(), reason=None)}


@pytest.mark.parametrize(("loss", "stands"), [(0.0, True), (0.01, True), (0.05, False)])
def test_non_inferior_is_the_whole_interval_above_the_margin(loss, stands):
    bench = SimpleNamespace(data=SimpleNamespace(ids=[str(k) for k in range(400)], seed=0))
    theirs = np.random.default_rng(0).random(400)
    found = compare(bench, score(theirs - loss), score(theirs), "joint-generation", 0.02)
    assert found["difference"] == pytest.approx(-loss)
    assert found["low"] - 1e-9 <= found["difference"] <= found["high"] + 1e-9
    assert found["non_inferior"] is stands


def test_equal_seeds_make_the_interval_narrow():
    """The mutation: unpaired, the same difference cannot be told from the spread of the samples."""
    bench = SimpleNamespace(data=SimpleNamespace(ids=[str(k) for k in range(400)], seed=0))
    theirs = np.random.default_rng(0).random(400)
    found = compare(bench, score(theirs), score(theirs), "joint-generation", 0.001)
    assert (found["low"], found["high"], found["non_inferior"]) == (0, 0, True)


def test_too_few_pairs_are_not_compared():
    bench = SimpleNamespace(data=SimpleNamespace(ids=["a", "b"], seed=0))
    found = compare(bench, score([1.0, 0.0]), score([1.0, 1.0]), "joint-generation", 0.02)
    assert found["difference"] is None
    assert found["reason"]


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Calls the command on the shipped model with two rounds a sample, and a roof that is not measured."""
    monkeypatch.setattr("benchmark.released_sampling.STEPS", 2)
    monkeypatch.setattr(sample_speed, "matmul_seconds", lambda device, bf16: 0.5)
    (tmp_path / "quick.yaml").write_text(QUICK)
    monkeypatch.setattr("tasks.joint_domains.domain_scores", lambda *_: [])
    monkeypatch.setattr("benchmark.sample_speed_scores.domain_scores", lambda *_: [])

    def call(*more: str):
        arguments = ["speed", "sample", "--model", "phantom-tiny", "--data", "phantom", "--n", "16", "--batch-size", "8"]
        arguments += ["--sweep", str(tmp_path / "quick.yaml"), "--device", "cpu", "--out", str(tmp_path / "out"), *STEPS]
        return CliRunner().invoke(main, [*arguments, *more])

    return call


@pytest.mark.slow
def test_a_sweep_from_the_command_line(quick, tmp_path, monkeypatch):
    out, draw = tmp_path / "out", sample_speed.Bench.draw

    def killed(self, task, name, system):
        if name == "guided":
            raise KeyboardInterrupt
        return draw(self, task, name, system)

    monkeypatch.setattr(sample_speed.Bench, "draw", killed)
    assert quick().exit_code != 0
    assert (out / "stages/sampler-own.json").exists()
    before = (out / "stages/sampler-own.json").stat().st_mtime_ns
    monkeypatch.setattr(sample_speed.Bench, "draw", draw)
    result = quick("--baselines", "--rounds", "1")
    assert result.exit_code == 0, result.output
    assert (out / "stages/sampler-own.json").stat().st_mtime_ns == before
    found = json.loads((out / "sample_speed.json").read_text())
    own, guided = found["samplers"]
    speed = own["tasks"]["joint-generation"]["speed"]
    assert speed["forwards"] == 2
    assert speed["active_tokens"] == 2 * 114
    assert guided["tasks"]["joint-generation"]["speed"]["flops_per_sample"] > 1.2 * speed["flops_per_sample"]
    assert own["roof"] == 2 * sample_speed.ROOF_SIDE**3 / 0.5
    line = json.loads((out / "samples/joint-generation/own/generated.jsonl").read_text().splitlines()[0])
    assert {"seconds", "forwards", "active_tokens", "flops"} == set(line["cost"])
    with (out / "sample_speed.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [(row["task"], row["sampler"]) for row in table] == [
        (task, name) for task in sample_speed.HEADLINES for name in ("own", "guided")
    ]
    assert (out / "pareto.png").stat().st_size > 10_000
    assert [row["name"] for row in found["baselines"]] == ["released", "public practice"]
    for row in found["baselines"]:
        assert row["ratio"] > 0
        assert set(row["worth"]) == set(sample_speed.HEADLINES)
    assert found["baselines"][0]["worth"]["image-generation"]["reason"].startswith("no interval: 12 patients")
    public = found["baselines"][1]["worth"]["joint-generation"]
    assert public["difference"] == pytest.approx(0, abs=0.1)  # the same samples, up to rounding
    assert "x as fast, median of 1 rounds" in result.output
    assert "margin = 0.02, and now margin = 0.1" in quick("--margin", "0.1").stderr
    assert sample_speed_baselines.SINGLES == 2
