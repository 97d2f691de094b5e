"""`medim-bench data ids`: what it writes is what `score` takes, no more and no less."""

import csv
import io
import json

import pytest
from PIL import Image

from medim.data.sources.folder import FolderDataset
from tasks.adapters.predictions import PredictionFolder
from tasks.cases import SplitIds, cases_of


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
    answers = PredictionFolder(theirs).answers("report-generation", cases, SplitIds(dataset, "test", cases))
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
