"""A submitted folder of predictions, scored again."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.results.rescore import _difference, _unable
from leaderboard.record import read_records
from medim.data.dataset import pairs
from medim.data.loading import load_dataset
from tasks.generation.joint import judge as joint_judge
from tasks.generation.joint import task as joint_generation
from tasks.metrics.pair.judge import Verdict

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
        "score",
        "report-generation",
        "--predictions",
        root / "predictions",
        "--data",
        DATA,
        "--limit",
        LIMIT,
        "--name",
        "next",
        "--out",
        root / "run",
        "--cache",
        "none",
    )
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


def test_what_cannot_be_scored_here_is_told_and_no_problem(scored, monkeypatch):
    """The run had METEOR; this machine lacks what it needs."""
    from tasks.metrics.text import captioning

    path = scored / "run" / "records.jsonl"
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    record = next(line for line in lines if line["metric"] == "METEOR" and line["kind"] == "measured")
    record |= {"value": 0.185, "reason": None}
    for key in ("ci_low", "ci_high"):
        record[key] = None
    record["signature"].pop("statistics", None)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(captioning.meteor, "java_problem", lambda: "no `java` on the PATH")
    try:
        done = verify(scored)
    finally:
        path.write_text(text)
    assert done.exit_code == 0, done.output
    assert "report-generation: METEOR of 'next': not scored again: METEOR 1.5 needs Java" in done.output


def test_what_a_rule_withholds_cannot_be_stated(scored, tmp_path):
    """No machine gives CIDEr of 20 references, and none withholds BLEU of them."""
    run = Path(shutil.copytree(scored / "run", tmp_path / "run"))
    path = run / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    own = {line["metric"]: line for line in lines if line["kind"] == "measured"}
    own["CIDEr"] |= {"value": 3.21, "ci_low": 3.1, "ci_high": 3.3, "reason": None}
    own["BLEU-1"] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "withheld"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = call("leaderboard", "verify", run, "--data", DATA, "--cache", "none")
    assert done.exit_code == 2
    assert "CIDEr of 'next': value 3.21, but the predictions give None (CIDEr needs at least 50 references" in done.output
    assert "BLEU-1 of 'next': value None, but the predictions give 0." in done.output
    assert "CIDEr of 'next': not scored again" not in done.output


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


@pytest.mark.parametrize("field", ["value", "ci_low", "ci_high", "n", "coverage"])
def test_each_number_is_compared_by_itself(scored, field):
    record = next(one for one in read_records(scored / "run" / "records.jsonl") if one.metric == "BLEU-1")
    record = record.model_copy(update={"ci_low": 0.25, "ci_high": 0.75})  # 20 patients have no interval
    other = record.model_copy(update={field: getattr(record, field) - (1 if field == "n" else 1e-3)})
    assert _difference(record, record) is None
    said = f"{field} {getattr(other, field)}, but the predictions give {getattr(record, field)}"
    assert _difference(other, record) == said


def test_sums_that_are_missing_are_told_apart_from_values_that_differ(scored, tmp_path):
    run = Path(shutil.copytree(scored / "run", tmp_path / "run"))
    file = run / "statistics" / "report-generation" / "next.npz"
    file.unlink()
    done = call("leaderboard", "verify", run)
    assert done.exit_code == 2
    lines = (run / "records.jsonl").read_text().splitlines()
    named = sum(f'"{file.relative_to(run)}"' in line and '"value": null' not in line for line in lines)
    assert f"{file}: missing: {named} records name it as their sums" in done.output
    assert f"records agree with their sums, 0 do not; {named} name sums that are missing" in done.output
    assert "do not agree with what they come from" not in done.output


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Pairs that a judge scored by the length of their reports."""

    class Judge:
        name, fingerprint = "by-length", "by-length-1"

        def __init__(self, folder, device):
            pass

        def __call__(self, images, reports):
            return [Verdict(len(report) % 10 / 10, "") for report in reports]

    monkeypatch.setattr(joint_judge, "Judge", Judge)
    for slow in ("distribution_scores", "retrieval_scores"):
        monkeypatch.setattr(joint_generation, slow, lambda *_: [])
    for name in ("predictions", "judge"):
        (tmp_path / name).mkdir()
    lines = []
    for case in pairs(load_dataset(DATA), "test", LIMIT):
        case.image.save(tmp_path / "predictions" / f"{case.id}.png")
        lines.append(json.dumps({"id": case.id, "report": case.report, "image": f"{case.id}.png"}) + "\n")
    (tmp_path / "predictions" / "predictions.jsonl").write_text("".join(lines))
    done = call(
        "score",
        "joint-generation",
        "--predictions",
        tmp_path / "predictions",
        "--data",
        DATA,
        "--limit",
        LIMIT,
        "--judge",
        tmp_path / "judge",
        "--out",
        tmp_path / "run",
        "--cache",
        tmp_path / "cache",
    )
    assert done.exit_code == 0, done.output
    return tmp_path


def test_what_a_judge_said_is_scored_again_by_the_same_judge_alone(judged, monkeypatch):
    done = call("leaderboard", "verify", judged / "run", "--data", DATA, "--cache", judged / "cache")
    assert done.exit_code == 0, done.output
    assert "judge score (judge) of 'predictions': not scored again: needs its judge, 'by-length'" in done.output
    same = ("leaderboard", "verify", judged / "run", "--data", DATA, "--cache", judged / "cache", "--judge", judged / "judge")
    done = call(*same)
    assert done.exit_code == 0, done.output
    assert "not scored again" not in done.output
    monkeypatch.setattr(joint_judge.Judge, "fingerprint", "exchanged")
    (judged / "judge" / "weights").write_bytes(b"others")
    assert "needs its judge, 'by-length'" in call(*same).output


def test_the_command_adds_what_agrees(scored, tmp_path):
    done = call("leaderboard", "add", scored / "run", "--to", tmp_path / "store", "--data", DATA)
    assert done.exit_code == 0, done.output
    assert "there already" in done.output
    done = call("leaderboard", "add", scored / "run" / "records.jsonl", "--to", tmp_path / "store")
    assert f"`medim-bench leaderboard verify {scored / 'run'} --data D`" in done.output
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


def test_where_a_labeller_is_missing_none_of_its_columns_is_scored_again(scored):
    """CheXbert withheld is one column; scored, it is several."""
    record = read_records(scored / "run" / "records.jsonl")[0].model_copy(update={"value": 0.5})
    lacking = {"CheXbert": "needs 'chexbert.pth'"}
    for metric in ("CheXbert, micro-F1-14, uncertain positive", "CheXbert, macro-F1-5, uncertain positive"):
        assert _unable(record.model_copy(update={"metric": metric}), None, lacking) == "needs 'chexbert.pth'"
    assert _unable(record.model_copy(update={"metric": "RadGraph F1, RG_E"}), None, lacking) is None
