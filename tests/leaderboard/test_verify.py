"""A submitted folder of predictions, scored again."""

import json

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from medim.data.dataset import load_dataset, pairs

DATA, LIMIT = "phantom:train=1%", 20


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Reports of another program (each case has that of the next), scored by the command."""
    root = tmp_path_factory.mktemp("verify")
    cases = list(pairs(load_dataset(DATA), "test", LIMIT))
    lines = [{"id": case.id, "report": other.report} for case, other in zip(cases, [*cases[1:], cases[0]], strict=True)]
    (root / "predictions").mkdir()
    (root / "predictions" / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = call(
        "score", "report-generation", "--predictions", root / "predictions", "--data", DATA, "--limit", LIMIT, "--name", "next",
        "--out", root / "run", "--cache", "none",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return root


def verify(root, *more, data=DATA):
    return call("leaderboard", "verify", root / "run", "--data", data, "--cache", "none", *more)


def test_predictions_give_the_values_again(scored):
    done = verify(scored, "--predictions", scored / "predictions")
    assert done.exit_code == 0, done.output
    assert "records agree with their predictions, 0 do not" in done.output


def test_other_data_or_other_predictions_are_refused(scored):
    done = verify(scored, data="phantom:train=2%")
    assert done.exit_code == 2
    assert "scored on other data or another split" in done.output
    other = scored / "other"
    other.mkdir(exist_ok=True)
    text = (scored / "predictions" / "predictions.jsonl").read_text()
    (other / "predictions.jsonl").write_text(text.replace('"report": "', '"report": "no pigment. '))
    done = verify(scored, "--predictions", other)
    assert done.exit_code == 2
    assert "not those that were scored" in done.output


def test_a_changed_value_without_sums_is_found(scored):
    """Without sums a value cannot be recomputed from the submission; its predictions tell."""
    path = scored / "run" / "records.jsonl"
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    record = next(line for line in lines if line["metric"] == "BLEU-1" and line["kind"] == "measured")
    record["value"] += 0.05
    record["ci_low"] = record["ci_high"] = None
    record["signature"].pop("statistics", None)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        assert call("leaderboard", "verify", scored / "run").exit_code == 0
        done = verify(scored)
    finally:
        path.write_text(text)
    assert done.exit_code == 2
    assert f"BLEU-1 of 'next': value {record['value']}, but the predictions give" in done.output


def test_the_command_adds_what_agrees(scored, tmp_path):
    done = call("leaderboard", "add", scored / "run", "--to", tmp_path / "store", "--data", DATA)
    assert done.exit_code == 0, done.output
    assert "there already" in done.output
    done = call("leaderboard", "add", scored / "run", "--to", tmp_path / "store", "--data", "phantom:train=2%")
    assert done.exit_code == 2
    assert "another split" in done.output


def test_the_command_tells_every_reason(scored, tmp_path):
    path = scored / "run" / "records.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"split": "test"', '"split": "val"'))
    try:
        done = call("leaderboard", "add", scored / "run", "--to", tmp_path / "store")
    finally:
        path.write_text(text)
    assert done.exit_code == 2
    assert done.output.count("field 'split': 'val', but manifest.json says 'test'") == len(text.splitlines())
