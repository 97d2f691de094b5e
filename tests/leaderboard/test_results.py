"""Committed results were measured with what the repository holds: the shipped weights and the frozen phantoms."""

import json
from pathlib import Path

import pytest

from leaderboard.record import read_records
from medim.checkpoints import SHIPPED, shipped
from medim.data.phantom.dataset import FINGERPRINT

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
RUNS = sorted(path.parent for path in RESULTS.glob("*/records.jsonl"))


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.name)
def test_a_committed_run_names_the_weights_and_the_data_it_was_made_with(run):
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    records = read_records(run / "records.jsonl")
    measured = [record for record in records if record.kind == "measured"]
    assert measured
    assert {record.run for record in records} == {manifest["run"]}
    assert {record.signature["model"] for record in measured} == {manifest["model_fingerprint"]}
    if manifest["dataset"] == "phantom":
        assert manifest["dataset_fingerprint"] == FINGERPRINT
        assert all(record.synthetic for record in records)
    if manifest["model"] in shipped():
        card = json.loads((SHIPPED / manifest["model"] / "card.json").read_text(encoding="utf-8"))
        assert manifest["model_fingerprint"] == card["fingerprint"]


def test_the_shipped_model_has_results():
    assert {json.loads((run / "manifest.json").read_text())["model"] for run in RUNS} >= set(shipped())
