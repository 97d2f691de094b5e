"""`data check`, `data ids` and `data show` end to end: what they print, write and return."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from benchmark.sampling import sheets
from medim.data.checks import reading
from medim.data.checks.reading import read_part
from medim.data.phantom.worlds import default_world
from medim.data.sources.folder import FolderDataset
from tasks import task_named
from tasks.adapters.predictions import PredictionFolder
from tasks.cases import SplitIds, cases_of


@pytest.fixture
def pairs(tmp_path: Path):
    """Writes pairs of (id, split, patient), each with another picture."""

    def write(*pairs: tuple[str, str, str]) -> Path:
        path = tmp_path / "set"
        path.mkdir(exist_ok=True)
        lines = []
        for number, (name, split, patient) in enumerate(pairs):
            default_world(64).pair("train", number).image.save(path / f"{name}.png")
            fields = {"split": split, "patient": patient, "terms": "CC0-1.0"}
            lines.append({"id": name, "image": f"{name}.png", "report": f"case number {name}", **fields})
        (path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


def check(*arguments: object):
    return CliRunner().invoke(main, ["data", "check", *map(str, arguments)])


def test_a_sound_set(pairs):
    result = check(pairs(("a", "train", "1"), ("b", "test", "2")))
    assert result.exit_code == 0, result.output
    assert "nothing to complain about" in result.stdout
    assert "terms: CC0-1.0" in result.stdout


def test_leakage_is_an_error_after_the_whole_report_unless_it_is_named(pairs, tmp_path):
    path = pairs(("a", "train", "1"), ("b", "test", "1"))
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


def test_unreadable_pictures_are_listed_and_the_rest_is_kept(pairs, tmp_path):
    path = pairs(("a", "train", "1"), ("b", "train", "2"), ("c", "test", "3"))
    (path / "b.png").write_bytes(b"no picture")
    result = check(path, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "unreadable: 1 of 3 pairs cannot be read" in result.stdout
    (failure,) = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert failure["item"] == "b"
    assert "b.png' cannot be read" in failure["reason"]
    pairs(("a", "train", "1"), ("b", "train", "2"), ("c", "test", "3"))
    assert check(path, "--out", tmp_path / "out").exit_code == 0
    assert not (tmp_path / "out" / "failures.jsonl").exists()


def test_a_stopped_check_continues_and_a_finished_one_starts_anew(pairs, tmp_path, monkeypatch):
    path, out = pairs(("a", "train", "1"), ("b", "val", "2"), ("c", "test", "3")), tmp_path / "out"
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


def test_reports_are_held_against_a_model(pairs):
    path = pairs(("a", "train", "1"))
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


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "a.png")
    Image.new("L", (8, 8)).save(folder / "b.png")
    rows = [("b-0", "b", "p,1", "test"), ("b-1", "b", "p,1", "test"), ("a-0", "a", "p2", "test"), ("t", "t", "p3", "train")]
    lines = [
        {"id": id, "study": study, "patient": patient, "split": split, "report": "x", "image": f"{'ab'[split == 'train']}.png"}
        for id, study, patient, split in rows
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_first_pair_of_each_study_is_wanted(command, studies, tmp_path):
    rows = [json.loads(line) for line in command("data", "ids", studies).stdout.splitlines()]
    assert rows == [
        {"id": "b-0", "study": "b", "patient": "p,1", "split": "test"},
        {"id": "a-0", "study": "a", "patient": "p2", "split": "test"},
    ]
    result = command("data", "ids", studies, "--split", "all", "--limit", "1", "--out", tmp_path / "ids.csv")
    assert result.exit_code == 0, result.output
    table = list(csv.DictReader(io.StringIO((tmp_path / "ids.csv").read_text())))
    assert [(row["id"], row["patient"], row["split"]) for row in table] == [("t", "p3", "train"), ("b-0", "p,1", "test")]


def test_score_misses_none_of_them(command, studies, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    ids = [json.loads(line)["id"] for line in command("data", "ids", studies).stdout.splitlines()]
    (theirs / "predictions.jsonl").write_text("".join(json.dumps({"id": id, "report": "x"}) + "\n" for id in ids))
    dataset = FolderDataset(studies)
    cases = [case.id for case in cases_of(dataset, "test", 8)]
    answers = PredictionFolder(theirs).answers(task_named("report-generation"), cases, SplitIds(dataset, "test", cases))
    assert (answers.ids, answers.note) == (ids, None)


def test_an_unknown_split_names_the_nearest(command, studies):
    result = command("data", "ids", studies, "--split", "tets")
    assert result.exit_code == 2
    assert "unknown split 'tets'; did you mean 'test'?" in result.stderr


def test_an_id_that_a_spreadsheet_would_run_goes_into_no_csv(command, studies, tmp_path):
    file = studies / "pairs.jsonl"
    file.write_text(file.read_text().replace('"id": "a-0"', '"id": "=1+1"'))
    result = command("data", "ids", studies, "--out", tmp_path / "ids.csv")
    assert result.exit_code != 0
    assert "a spreadsheet would run '=1+1' as a formula" in result.output
    assert not (tmp_path / "ids.csv").exists()
    assert '"=1+1"' in command("data", "ids", studies).stdout


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
def two_pairs(tmp_path):
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"none")
    fields = {"split": "train", "terms": "PhysioNet Credentialed Health Data License 1.5.0", "findings": ["edema"]}
    rows = [{"id": name, "image": f"{name}.png", "report": f"report of {name}", **fields} for name in "ab"]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_every_split_terms_and_failures(two_pairs, monkeypatch):
    cards = []
    write = sheets.write_pair_sheet
    monkeypatch.setattr(sheets, "write_pair_sheet", lambda path, title, c: (cards.extend(c), write(path, title, c)))
    result = show(two_pairs, "--split", "all", "--out", two_pairs / "s.png")
    assert result.exit_code == 3
    assert "2 of 2 pairs, seed 0" in result.stdout
    assert "do not allow the sheet to be passed on" in result.stdout
    assert "b.png' cannot be read" in result.stderr
    assert [card.report for card in cards] == ["report of a", "report of b"]
    assert cards[0].heads == ("a", "train", "patient a, study a", "findings: edema")
    assert "b.png' cannot be read" in cards[1].heads[-1]
    with Image.open(two_pairs / "s.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[1] == 2 * (sheets.CARD + sheets.MARGIN) + sheets.MARGIN
    red = (pixels == (255, 0, 0)).all(axis=2)
    assert red.sum() == sheets.CARD * sheets.CARD // 2  # 40 x 20, eight times larger


def test_an_empty_or_unknown_split(two_pairs):
    empty = show(two_pairs, "--out", two_pairs / "s.png")
    assert (empty.exit_code, "has no pairs in split 'test'" in empty.stderr) == (2, True)
    unknown = show(two_pairs, "--split", "tset", "--out", two_pairs / "s.png")
    assert "did you mean 'test'" in unknown.stderr
