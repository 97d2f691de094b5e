import csv

import pytest

from leaderboard.record import Record
from leaderboard.reported import PUBLISHED, RELATIVE, reported_records, reported_tables
from leaderboard.tables.boards import boards


def test_every_published_number_is_a_record():
    rows = sum(len(list(csv.DictReader(path.open()))) for path in PUBLISHED.glob("*.csv"))
    records = reported_records()
    assert len(records) == rows == 165
    assert {(r.kind, r.protocol, r.n, r.coverage, r.seed) for r in records} == {("reported", "paper", None, None, None)}
    assert len({r.key for r in records}) == rows
    assert all("not comparable" in r.reason and "2510.06131" in r.signature["source"] for r in records)


def test_values_tasks_and_directions():
    found = {(r.model, r.dataset, r.metric): r for r in reported_records()}
    fid = found["MeDiM", "MIMIC-CXR", "FID"]
    assert (fid.value, fid.task, fid.higher_is_better) == (16.60, "image-generation", False)
    assert found["MeDiM", "PathGen", "BLEU-3"].value == 0.037
    assert found["w/ causal mask", "mean(MIMIC-CXR, PathGen)", "mFID"].higher_is_better is False
    assert found["w/ causal mask", "mean(MIMIC-CXR, PathGen)", "mMETEOR"].task == "report-generation"


@pytest.fixture
def beside(make_record):
    """What stands beside the tables of the paper, by title, for measured records of (task, model, metric, value)."""

    def make(*entries):
        records = [
            Record(**make_record(task=task, model=model, metric=metric, value=value)) for task, model, metric, value in entries
        ]
        (board,) = boards(records, {"aaaa1111bbbb2222": "f"})
        return {table["title"]: table["measured"] for table in reported_tables(reported_records(), [("board1", board)])}

    return make


def test_gains_stand_beside_the_papers_gains_and_no_absolute_score_does(beside):
    title, arm = "downstream text and Fig. 5c: PathGen", "m: real+synthetic 100 %"
    prior, matched = "augmentation (external-prior)", "augmentation (budget-matched)"
    found = beside(
        (prior, arm, f"{RELATIVE}BLEU-1", 2.5),
        (prior, arm, "BLEU-1", 0.3),
        (prior, arm, f"{RELATIVE}METEOR (own)", -1.5),
        (matched, arm, f"{RELATIVE}BLEU-1", 9.5),
    )[title]
    assert [row["where"] for row in found] == [
        f"phantom, test, strict-v1, {regime}" for regime in ("budget-matched", "external-prior")
    ]
    assert [[cell["text"] for cell in row["cells"]] for row in found] == [
        ["9.500", "", "", ""],
        ["2.500", "", "", "\N{MINUS SIGN}1.500"],
    ]
    assert found[1]["cells"][0]["metric"] == f"{RELATIVE}BLEU-1"
    assert beside((prior, arm, "BLEU-1", 0.3))[title] == []


def test_the_inception_score_stands_beside_the_papers_is(beside):
    (row,) = beside(
        ("image-generation", "m", "IS (EfficientNet-Lite0 logits)", 3.0), ("image-generation", "m", "Inception Score", 2.0)
    )["Table 1: MIMIC-CXR"]
    assert [(cell["text"], cell["metric"]) for cell in row["cells"]] == [("", ""), ("2.000", "Inception Score")]
    assert row["where"] == "phantom, test, strict-v1"
