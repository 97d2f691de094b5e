"""What `speed data` measures, on a fake clock and for real."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.speed.data import TURN, Clock, DataSpeed, measure, turns
from medim.common.errors import UserError
from medim.data.phantom.worlds import default_world
from medim.tokenizers.image import ImageTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> ImageTokenizer:
    return ImageTokenizer.build(64, 8, 8, channels=(2, 2, 2, 2), latent_channels=2)


def testturns_go_around_a_small_split():
    assert list(turns(1300, 600)) == [range(512), range(512, 600), range(512), range(512, 600), range(100)]
    assert sum(map(len, turns(5000, 49_152))) == 5000
    assert max(map(len, turns(5000, 49_152))) == TURN


def test_a_clock_counts_only_while_it_runs(monkeypatch):
    times = iter([1.0, 3.0, 10.0, 12.0])
    monkeypatch.setattr("benchmark.speed.data.time.perf_counter", lambda: next(times))
    clock = Clock()
    assert clock.rate == 0
    for images in (10, 30):
        with clock.running(images):
            pass
    assert clock.rate == 10


def test_it_measures(tokenizer, tmp_path):
    found = measure(default_world(), tokenizer, "tiny", 96, split="val", cache=tmp_path)
    assert found.pairs == 96
    assert found.cached
    assert min(found.read, found.tokenise) > 0
    assert found.memory_at_end >= found.memory_at_tenth > 50
    assert [*tmp_path.glob("pictures-*/*.arrow")]
    assert not measure(default_world(), tokenizer, "tiny", 64, split="val").cached
    with pytest.raises(UserError, match="did you mean 'val'"):
        measure(default_world(), tokenizer, "tiny", 64, split="vall")


def test_the_table_says_what_was_read():
    found = DataSpeed(
        data="phantom",
        data_fingerprint="f",
        split="val",
        pairs=2000,
        rounds=1.95,
        resolution=64,
        tokenizer="t",
        device="cpu",
        threads=2,
        workers=0,
        cached=False,
        read=900.0,
        tokenise=300.0,
        memory_at_tenth=500.0,
        memory_at_end=505.0,
    )
    table = found.table()
    assert "phantom (val, gone through 1.95 times): 2,000 pairs at 64 px" in table
    assert "reading (drawn or decoded)               900  3.00x" in table
    assert "memory: at most 500 MB in the first tenth, 505 MB in all, +1.0%" in table
    assert "reading (cached pictures)" in replace(found, cached=True).table()


def test_the_command(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    arguments = ["speed", "data", "--data", "phantom", "--n", "64", "--split", "val", "--device", "cpu"]
    result = CliRunner().invoke(main, [*arguments, "--tokenizer", str(tmp_path / "tokenizer"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "tokenising images" in result.output
    assert json.loads((tmp_path / "out" / "data_speed.json").read_text())["pairs"] == 64
