"""`data show`: which pairs are drawn, what stands on the sheet, and what is said of terms and failures."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from benchmark.data import show as data_show
from benchmark.sampling.sheets import CARD, MARGIN


def show(*arguments: object):
    return CliRunner().invoke(main, ["data", "show", *map(str, arguments)])


def test_the_seed_chooses_the_pairs(tmp_path):
    sheets = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        result = show("phantom", "--n", 3, "--seed", seed, "--out", tmp_path / f"{name}.png")
        assert result.exit_code == 0, result.output
        sheets[name] = (tmp_path / f"{name}.png").read_bytes()
    assert sheets["a"] == sheets["b"] != sheets["c"]
    assert "3 of 2048 pairs of split 'test', seed 1" in result.stdout
    assert "terms: CC0-1.0" in result.stdout


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"none")
    fields = {"split": "train", "terms": "PhysioNet Credentialed Health Data License 1.5.0", "findings": ["edema"]}
    rows = [{"id": name, "image": f"{name}.png", "report": f"report of {name}", **fields} for name in "ab"]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_every_split_terms_and_failures(folder, monkeypatch):
    cards = []
    write = data_show.write_pair_sheet
    monkeypatch.setattr(data_show, "write_pair_sheet", lambda path, title, c: (cards.extend(c), write(path, title, c)))
    result = show(folder, "--split", "all", "--out", folder / "s.png")
    assert result.exit_code == 3
    assert "2 of 2 pairs, seed 0" in result.stdout
    assert "do not allow the sheet to be passed on" in result.stdout
    assert "b.png' cannot be read" in result.stderr
    assert [card.report for card in cards] == ["report of a", "report of b"]
    assert cards[0].heads == ("a", "train", "patient a, study a", "findings: edema")
    assert "b.png' cannot be read" in cards[1].heads[-1]
    with Image.open(folder / "s.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[1] == 2 * (CARD + MARGIN) + MARGIN
    red = (pixels == (255, 0, 0)).all(axis=2)
    assert red.sum() == CARD * CARD // 2  # 40 x 20, eight times larger


def test_an_empty_or_unknown_split(folder):
    empty = show(folder, "--out", folder / "s.png")
    assert (empty.exit_code, "has no pairs in split 'test'" in empty.stderr) == (2, True)
    unknown = show(folder, "--split", "tset", "--out", folder / "s.png")
    assert "did you mean 'test'" in unknown.stderr
