"""Figures follow from what was measured; a sweep goes on where it was killed; baselines are held against the margin."""

import csv
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.speed import sample as sample_speed
from benchmark.speed import sample_baselines as sample_speed_baselines
from benchmark.speed.sample import speed_of
from benchmark.speed.sample_baselines import against_released, compare, lines_of, released_of
from benchmark.speed.sample_results import frontier, write_results
from medim.common.errors import UserError
from medim.common.files import file_name
from medim.sampling.settings import ReleasedSettings, SamplerSettings
from tasks.metrics.statistics.additive import Additive

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


def test_the_released_procedure_is_timed_at_its_batch_and_at_ours(monkeypatch):
    """The clock: 3 s a pair one by one, 1 s in a batch of four; ours 0.5 s."""
    clock, drawn = itertools.count(), []

    def generate(task, system, cases, seeds):
        drawn.append((task, system, list(cases), list(seeds)))

    taken = iter([6.0, 2.0, 4.0])
    monkeypatch.setattr(sample_speed_baselines.time, "perf_counter", lambda: 0.0 if next(clock) % 2 == 0 else next(taken))
    data = SimpleNamespace(cases=list("abcdef"), ids=list("abcdef"))
    artifacts = SimpleNamespace(get=lambda *_: None, put=lambda *_: None)
    bench = SimpleNamespace(
        data=data, batch_size=4, artifacts=artifacts, generate=generate,
        draw=lambda task, name, system: (None, ["failed"] if name == "own" else []),
    )  # fmt: skip
    own, theirs = (SimpleNamespace(settings=lambda who=who: {"who": who}) for who in ("own", "theirs"))
    row, failures = against_released(bench, own, "own", theirs, ["joint-generation"], 1, 0.02)
    assert [(system is own, cases, seeds) for _, system, cases, seeds in drawn] == [
        (False, ["a"], [0]), (False, ["b"], [1]), (True, list("abcd"), [0, 1, 2, 3]), (False, list("abcd"), [0, 1, 2, 3]),
    ]  # fmt: skip
    assert row["tasks"]["joint-generation"]["ratio"] == {"batch 1": 6, "equal batch": 2}
    assert failures == ["failed"]
    told = "\n".join(lines_of(row))
    assert "2.00 samples/s against 0.333 at batch 1 (1, as its authors run it): 6.0 x as fast" in told
    assert "2.00 samples/s against 1.000 at equal batch (4, as we run ours): 2.0 x as fast" in told


def test_a_model_without_a_mask_is_refused_before_anything_is_drawn():
    config = SimpleNamespace(objective="autoregressive", transition="absorbing")
    with pytest.raises(UserError, match=r"^--baselines: model 'ar': procedure: 'released' fills what is masked, and an auto"):
        released_of(SimpleNamespace(model=SimpleNamespace(config=config), name="ar"))


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Calls the command on the shipped model with two rounds a sample, and a roof that is not measured."""
    theirs = SamplerSettings(procedure="released", released=ReleasedSettings(steps=2))
    monkeypatch.setattr(sample_speed_baselines, "SAMPLER", theirs)
    monkeypatch.setattr(sample_speed, "matmul_seconds", lambda device, bf16: 0.5)
    (tmp_path / "quick.yaml").write_text(QUICK)
    monkeypatch.setattr("tasks.generation.joint.domains.domain_scores", lambda *_: [])
    monkeypatch.setattr("benchmark.speed.sample_scores.domain_scores", lambda *_: [])

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
    theirs = found["released"]["tasks"]
    assert set(theirs) == set(sample_speed.HEADLINES)
    assert theirs["image-generation"]["worth"]["reason"].startswith("no interval: 12 patients")
    for row in theirs.values():
        assert set(row["ratio"]) == {"batch 1", "equal batch"}
    for task, positions in (("joint-generation", 2 * 114), ("image-generation", 3 * 114)):  # no second row without a report,
        kept = out / "samples" / task / file_name("baseline released") / "generated.jsonl"  # and none in the first step
        cost = json.loads(kept.read_text().splitlines()[0])["cost"]
        assert (cost["forwards"], cost["active_tokens"]) == (2, positions)
    assert "x as fast" in result.output
    assert "margin = 0.02, and now margin = 0.1" in quick("--margin", "0.1").stderr
