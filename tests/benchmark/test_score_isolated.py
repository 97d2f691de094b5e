"""From a recipe to a column: `metric-environment make`, `try`, and `score`."""

import json

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.doctor import capabilities
from leaderboard.record import read_records

RECIPE = 'title: Same words\nversion: "1"\nvalues: {share: {better: higher, missing: 0}}\nweights: [words.txt]\nsource: mine\n'
SCRIPT = """
from medim_metric import read, weights, write

known = set((weights() / "words.txt").read_text().split())
rows, predictions, references = read()
shared = [known & set(a.split()) & set(b.split()) for a, b in zip(predictions, references)]
write(rows, share=[len(one) / len(known) for one in shared])
"""


def command(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("MEDIM_BENCH_CACHE", str(tmp_path / "cache"))
    recipe, data, theirs = (tmp_path / name for name in ("same", "data", "theirs"))
    for folder in (recipe, data, theirs):
        folder.mkdir()
    (recipe / "recipe.yaml").write_text(RECIPE)
    (recipe / "metric.py").write_text(SCRIPT)
    lines = [
        {"id": f"r{n}", "report": f"left effusion number {n}", "split": "test", "domain": "chest-xray", "patient": f"p{n}"}
        for n in range(20)
    ]
    (data / "reports.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for line in lines:
        (theirs / f"{line['id']}.txt").write_text("left effusion" if line["id"] != "r7" else "left lung")
    return recipe, data, theirs


def test_a_users_recipe_is_made_tried_and_seen_by_the_doctor(folders, tmp_path, monkeypatch):
    recipe, _, _ = folders
    out = tmp_path / "weights" / "same"
    made = command("metric-environment", "make", recipe, "--out", out)
    assert made.exit_code == 0, made.output
    assert "MEDIM_SAME=" in made.stdout
    assert f"{out}/weights needs words.txt: mine" in made.stdout
    refused = command("metric-environment", "try", out)
    assert refused.stderr == f"error: Same words: '{out}/weights' holds no 'words.txt'; source: mine\n"
    (out / "weights" / "words.txt").write_text("effusion heart")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for options in ((), ("--download",)):
        assert command("metric-environment", "try", out, *options).stdout == "Same words: 0.5\n"
    states = {one.name: one.state for one in capabilities._environments()}
    shipped = dict.fromkeys(
        ("environment green", "environment radcliq", "environment radgraph", "environment ratescore"), "missing"
    )
    assert states == shipped | {"environment same": "ready"}


@pytest.mark.slow
def test_score_has_a_column_that_follows_the_weights(folders, tmp_path):
    recipe, data, theirs = folders
    out = tmp_path / "weights" / "same"
    assert command("metric-environment", "make", recipe, "--out", out).exit_code == 0
    values = {}
    for words, value in (("left effusion", 39 / 40), ("left", 1.0)):
        (out / "weights" / "words.txt").write_text(words)
        arguments = ("--predictions", theirs, "--data", data, "--out", tmp_path / "scored")
        result = command("score", "report-generation", *arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        records = read_records(tmp_path / "scored" / "records.jsonl")
        [record] = [one for one in records if one.metric == "Same words" and one.kind == "measured"]
        assert record.value == pytest.approx(value)
        assert record.ci_low is not None
        values[record.signature["weights"]] = value
        [real] = [one for one in records if one.metric == "Same words" and one.model == "real"]
        assert real.value == 1
    assert len(values) == 2
    withheld = {one.metric: one.reason for one in records if one.value is None and one.kind == "measured"}
    assert "metric-environment make green" in withheld["GREEN"]


def test_a_download_is_refused_offline(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "e").mkdir()
    assert "HF_HUB_OFFLINE is set" in command("metric-environment", "try", tmp_path / "e", "--download").stderr
