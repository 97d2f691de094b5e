"""`data check` end to end: what it prints, writes and returns."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from medim.data.checks import reading
from medim.data.checks.reading import read_part
from medim.data.phantom.v1.dataset import PhantomDataset


@pytest.fixture
def folder(tmp_path: Path):
    """Writes pairs of (id, split, patient), each with another picture."""

    def write(*pairs: tuple[str, str, str]) -> Path:
        path = tmp_path / "set"
        path.mkdir(exist_ok=True)
        lines = []
        for number, (name, split, patient) in enumerate(pairs):
            PhantomDataset(64).pair("train", number).image.save(path / f"{name}.png")
            fields = {"split": split, "patient": patient, "terms": "CC0-1.0"}
            lines.append({"id": name, "image": f"{name}.png", "report": f"case number {name}", **fields})
        (path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


def check(*arguments: object):
    return CliRunner().invoke(main, ["data", "check", *map(str, arguments)])


def test_a_sound_set(folder):
    result = check(folder(("a", "train", "1"), ("b", "test", "2")))
    assert result.exit_code == 0, result.output
    assert "nothing to complain about" in result.stdout
    assert "terms: CC0-1.0" in result.stdout


def test_leakage_is_an_error_after_the_whole_report_unless_it_is_named(folder, tmp_path):
    path = folder(("a", "train", "1"), ("b", "test", "1"))
    result = check(path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "patient '1': train 'a' (patient '1') and test 'b' (patient '1')" in result.stdout
    assert (
        result.stderr.strip()
        .splitlines()[-1]
        .endswith("patient-leakage: scores on this set cannot be trusted; mend the splits, or name what is meant")
    )
    written = json.loads((tmp_path / "out" / "check.json").read_text())
    assert [issue["kind"] for issue in written["issues"]] == ["patient-leakage"]
    assert written["sizes"] == {"train": 1, "val": 0, "test": 1}
    allowed = check(path, "--allow", "patient-leakage", "--out", tmp_path / "out")
    assert allowed.exit_code == 0
    assert json.loads((tmp_path / "out" / "check.json").read_text())["allowed"] == ["patient-leakage"]
    assert check(path, "--allow", "near-duplicates").exit_code == 2


def test_unreadable_pictures_are_listed_and_the_rest_is_kept(folder, tmp_path):
    path = folder(("a", "train", "1"), ("b", "train", "2"), ("c", "test", "3"))
    (path / "b.png").write_bytes(b"no picture")
    result = check(path, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "unreadable: 1 of 3 pairs cannot be read" in result.stdout
    (failure,) = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert failure["item"] == "b"
    assert "b.png' cannot be read" in failure["reason"]
    folder(("a", "train", "1"), ("b", "train", "2"), ("c", "test", "3"))
    assert check(path, "--out", tmp_path / "out").exit_code == 0
    assert not (tmp_path / "out" / "failures.jsonl").exists()


def test_a_stopped_check_continues_and_a_finished_one_starts_anew(folder, tmp_path, monkeypatch):
    path, out = folder(("a", "train", "1"), ("b", "val", "2"), ("c", "test", "3")), tmp_path / "out"
    seen = []

    def stopped_at_the_third(dataset, part, tokenizer):
        seen.append(part.split)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read_part(dataset, part, tokenizer)

    monkeypatch.setattr(reading, "read_part", stopped_at_the_third)
    assert check(path, "--out", out).exit_code not in (0, 3)
    assert [file.name for file in out.iterdir()] == [".check.read"]
    assert check(path, "--out", out).exit_code == 0
    assert seen == ["train", "val", "test", "test"]
    assert [file.name for file in out.iterdir()] == ["check.json"]
    assert check(path, "--out", out).exit_code == 0
    assert seen[4:] == ["train", "val", "test"]


def test_reports_are_held_against_a_model(folder):
    path = folder(("a", "train", "1"))
    result = check(path, "--model", "phantom-tiny", "--model-length", 3)
    assert result.exit_code == 0, result.output
    assert "truncated-reports: longer than the model's 3 tokens, the end included: train 100.0%" in result.stdout
    assert "longer than 48 tokens" in check(path, "--model", "phantom-tiny").stdout
    assert "longer than 5 words" in check(path, "--model-length", 5).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("phantm",), "did you mean 'phantom'"),
        (("phantom", "--allow", "patient-leak"), "did you mean 'patient-leakage'"),
        (("phantom", "--model", "phantom-tiny", "--tokenizer", "x"), "not both"),
        (("phantom", "--tokenizer", "no/such"), "folder 'no/such' does not exist"),
        (("no/such/folder",), "does not exist"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    result = check(*arguments)
    assert result.exit_code not in (0, 3)
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_registered_set_in_part():
    result = check("phantom", "--limit", 5)
    assert result.exit_code == 0, result.output
    assert "only a part was read: 5 of 49152 train" in result.stdout
