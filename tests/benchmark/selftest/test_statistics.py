"""The simulation itself: it must see an error rate that is too high."""

import json

import pytest
from click.testing import CliRunner

from benchmark.commands.selftest import selftest
from benchmark.selftest import statistics as selftest_statistics
from benchmark.selftest.statistics import Rate, rates, table


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(selftest_statistics, "TRAININGS", (3,))
    monkeypatch.setattr(selftest_statistics, "SPREADS", (0.3,))
    monkeypatch.setattr(selftest_statistics, "SHORT", (20,))
    monkeypatch.setattr(selftest_statistics, "_RESAMPLES", 199)


def test_all_statements_are_simulated_and_within_their_bounds(small):
    found = {rate.what: rate for rate in rates(60)}
    assert {"false verdict, board", "false verdict, by seed", "coverage, board", "false equivalence"} <= found.keys()
    assert found["false verdict, board"].value <= 0.12
    assert found["coverage, normal mean"].value >= 0.85
    assert found["found in 80 %, board"].value == pytest.approx(found["stated as found in 80 %, board"].value, rel=0.5)


def test_a_verdict_that_does_not_know_trainings_is_found_out(small, monkeypatch):
    monkeypatch.setattr("tasks.metrics.statistics.paired.of_mean", lambda values, entries=None: ())
    rate = next(rate for rate in rates(60) if rate.what == "false verdict, board")
    assert rate.value > 0.2
    assert rate.failed


def test_the_command_writes_its_figures_and_fails_with_them(monkeypatch, tmp_path):
    found = [
        Rate("false verdict, board", "2 trainings, sd 0.1", 0.29, 0.06),
        Rate("coverage, F1", "15 patients", 0.95, 0.93, False),
    ]
    monkeypatch.setattr(selftest_statistics, "rates", lambda runs: iter(found))
    result = CliRunner().invoke(selftest, ["--statistics", "--runs", "100", "--out", str(tmp_path)])
    assert result.exit_code == 3
    assert "29.0% ! > 6%" in result.output
    assert "1 beyond their bound" in result.output
    assert json.loads((tmp_path / "statistics.json").read_text())["rates"][0]["value"] == 0.29
    assert "95.0%" in table(found)
    assert CliRunner().invoke(selftest, ["--runs", "100"]).exit_code == 2
