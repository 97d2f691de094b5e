import csv

import pytest

from leaderboard.reported import PUBLISHED, reported_records
from medim.common.errors import UserError


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


def test_a_broken_table_is_named(tmp_path):
    with pytest.raises(UserError, match="no published tables"):
        reported_records(tmp_path)
    table = tmp_path / "table3_reports.csv"
    table.write_text("method,type,dataset,metric,value\nA,NA,X,BLEU-1,0.1\nA,NA,X,BLEU-2,n/a\n")
    with pytest.raises(UserError, match=r"table3_reports\.csv:3: field 'value': 'n/a' is not a number"):
        reported_records(tmp_path)
    table.write_text("method,metric,value\n")
    with pytest.raises(UserError, match=r"table3_reports\.csv:1: header must be"):
        reported_records(tmp_path)
