"""What `speed metrics` measures, on small sizes."""

import json

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.speed.metrics import MetricsSpeed, Part, reports_of, worded_otherwise
from medim.data.phantom import DEFAULT
from medim.data.phantom.worlds import WORLDS, default_world


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


def test_a_line_a_part():
    table = MetricsSpeed("phantom", (Part("report metrics", 600, 3.0), Part("features", 64, 0.32))).table().splitlines()
    assert table[1].split() == ["report", "metrics", "600", "3.00", "5.00", "ms"]
    assert table[2].split() == ["features", "64", "0.32", "5.00", "ms"]


def test_the_command(tmp_path):
    result = CliRunner().invoke(main, ["speed", "metrics", "--n", "20", "--split", "val", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    parts = json.loads((tmp_path / "metrics_speed.json").read_text())["parts"]
    assert [part["n"] for part in parts] == [20, 20, 20, 64, 64]
    assert all(part["seconds"] > 0 for part in parts)
    assert "Fréchet distance of 1,280 features" in result.stdout
