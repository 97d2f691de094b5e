"""What `speed metrics` measures: on small sizes, and on a clock of its own."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.speed import metrics as metrics_speed
from benchmark.speed.metrics import (
    Compared,
    MetricsSpeed,
    SecondModel,
    compare_frechet,
    compare_interval,
    compare_meteor,
    measure,
    measure_second_model,
    reports_of,
    turns,
    worded_otherwise,
)
from medim.data.phantom.worlds import DEFAULT, WORLDS, default_world
from tasks.metrics.text.java import java_problem

TEXTS = [f"there is a {size} left pleural effusion number {i}" for i, size in enumerate(("small", "large", "moderate") * 10)]


def test_turns_alternate_and_take_the_median(monkeypatch):
    clock = iter([0, 1, 1, 11, 11, 14, 14, 34, 34, 36, 36, 66])  # ours 1, 3, 2; theirs 10, 20, 30
    monkeypatch.setattr(metrics_speed, "perf_counter", lambda: next(clock))
    called: list[str] = []
    ours, theirs = turns(lambda: called.append("ours") or 1, lambda: called.append("theirs") or 2, 3)
    assert called == ["ours", "theirs"] * 3
    assert ours == (2.0, 1)
    assert theirs == (20.0, 2)


def test_a_ratio_and_its_verdict():
    row = Compared("x", 1, "y", target=3.0, ours=2.0, reference=8.0, difference=0.0)
    assert (row.ratio, row.verdict) == (4.0, "reached")
    assert Compared("x", 1, "y", target=5.0, ours=2.0, reference=8.0, difference=0.0).verdict == "below target"
    wrong = Compared("x", 1, "y", target=3.0, ours=2.0, reference=8.0, difference=1e-3)
    assert (wrong.agrees, wrong.verdict) == (False, "VALUES DIFFER")
    missing = Compared("x", 1, "y", target=3.0, reason="no `java`")
    assert (missing.ratio, missing.verdict, missing.agrees) == (None, "not measured", True)


def test_words_are_left_out_alike_for_one_seed():
    report = " ".join(map(str, range(10_000)))
    first = worded_otherwise([report], 0)[0].split()
    assert first == worded_otherwise([report], 0)[0].split()
    assert first != worded_otherwise([report], 1)[0].split()
    assert len(first) == pytest.approx(8800, abs=150)
    assert first == sorted(first, key=int)


def test_reports_go_around():
    dataset = default_world(32)
    assert reports_of(dataset, "val", 3) == [dataset.pair("val", i).report for i in range(3)]

    class Small(WORLDS[DEFAULT]):
        def size(self, split: str) -> int:
            return 2

    assert reports_of(Small(32), "val", 5) == [dataset.pair("val", i % 2).report for i in range(5)]


def test_the_interval_sees_what_recomputing_sees():
    row = compare_interval(TEXTS, worded_otherwise(TEXTS, 0, 0.3), rounds=2, resamples=300)
    assert row.difference <= 1e-12
    assert row.reference > row.ours > 0
    assert "2 resample(s) computed, times 300 / 2" in row.how
    few = compare_interval(TEXTS[:14], TEXTS[:14], rounds=1)
    assert "needs 15 reports" in few.reason


def test_a_wrong_value_is_noticed(monkeypatch):
    right = metrics_speed.bleu_of_sums
    monkeypatch.setattr(metrics_speed, "bleu_of_sums", lambda sums, order: right(sums, order=order) + 1e-6)
    assert compare_interval(TEXTS, worded_otherwise(TEXTS, 0, 0.3), rounds=1, resamples=20).verdict == "VALUES DIFFER"


def test_the_frechet_distance_is_that_of_the_square_root():
    row = compare_frechet(rounds=1, dimension=48, images=200)  # full rank: the root is exact
    assert row.difference < 1e-10
    assert compare_frechet(rounds=1, dimension=96, images=40).agrees


@pytest.mark.skipif(java_problem() is not None, reason="needs Java")
def test_meteor_is_that_of_the_package():
    hypotheses = worded_otherwise(TEXTS, 0, 0.3)
    row = compare_meteor(TEXTS, hypotheses, rounds=1)
    assert row.difference <= 1e-12


def test_without_java_meteor_is_not_measured(monkeypatch):
    monkeypatch.setattr(metrics_speed, "java_problem", lambda: "no `java` on the PATH")
    row = compare_meteor(TEXTS, TEXTS, rounds=1)
    assert row.verdict == "not measured"
    assert "java" in row.reason


def test_the_second_system_pays_nothing():
    two = measure_second_model(TEXTS)
    assert two.made == (1, 0)
    assert min(two.first, two.second, two.references) > 0


def test_the_table_and_the_failures(monkeypatch):
    row = Compared("METEOR 1.5", 600, "a call", 3.0, 2.0, 13.0, 0.0)
    blank = Compared("Fréchet distance", 500, "sqrtm", 20.0, reason="SciPy is not installed")
    two = SecondModel(5000, 10.0, 4.0, 3.0, (1, 0), (1, 0))
    lines = MetricsSpeed("phantom", (row, blank), two, 11.0).table().splitlines()
    assert lines[1].split() == ["METEOR", "1.5,", "n", "=", "600", "2.0", "s", "13.0", "s", "6.5x", "3x", "reached"]
    assert lines[3].endswith("not measured: SciPy is not installed")
    assert "indexed first, once on this machine: 11.0 s" in lines[4]
    assert "1 time(s) for the first (3.0 s), 0 for the second" in lines[6]

    bad = Compared("METEOR 1.5", 600, "a call", 3.0, 2.0, 13.0, 0.5)
    monkeypatch.setattr(metrics_speed, "compare_meteor", lambda *_: bad)
    monkeypatch.setattr(metrics_speed, "compare_interval", lambda *_: row)
    monkeypatch.setattr(metrics_speed, "compare_frechet", lambda *_: row)
    monkeypatch.setattr(metrics_speed, "meteor_index_seconds", lambda: None)
    monkeypatch.setattr(metrics_speed, "measure_second_model", lambda reports: SecondModel(5, 1, 1, 1, (1, 2), (1, 0)))
    found = measure(default_world(32), "val", 4, 5, tell=lambda line: None)
    assert found.failures == ("METEOR 1.5: values differ by 5.0e-01", "the second system paid for its references 2 time(s)")
    assert json.loads(json.dumps(found.as_dict()))["compared"][0]["verdict"] == "VALUES DIFFER"


@pytest.mark.parametrize(("failures", "status"), [((), 0), (("METEOR: values differ",), 3)])
def test_the_command(monkeypatch, tmp_path, failures, status):
    row = Compared("METEOR 1.5", 600, "a call", 3.0, 2.0, np.float64(13.0).item(), 0.0)
    monkeypatch.setattr(metrics_speed, "measure", lambda *_, **__: MetricsSpeed("phantom", (row,), None, None, failures))
    result = CliRunner().invoke(main, ["speed", "metrics", "--out", str(tmp_path)])
    assert result.exit_code == status, result.output
    assert "6.5x" in result.stdout
    assert json.loads((tmp_path / "metrics_speed.json").read_text())["compared"][0]["ratio"] == 6.5
