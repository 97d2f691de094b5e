"""Committed results were measured with what the repository holds: the shipped weights and the frozen phantoms."""

import json
from pathlib import Path

import pytest

from benchmark.results.check_sums import verify
from leaderboard.record import read_records
from medim.checkpoints import SHIPPED, shipped
from medim.data.loading import load_dataset

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
RUNS = sorted(path.parent for path in RESULTS.rglob("records.jsonl"))


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.name)
def test_a_committed_run_names_the_weights_and_the_data_it_was_made_with(run):
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    records = read_records(run / "records.jsonl")
    measured = [record for record in records if record.kind == "measured"]
    assert measured
    assert {record.run for record in records} == {manifest["run"]}
    if "models" in manifest:  # an ablation has a model for each arm and seed; a change has none of its own
        named = {record.signature["model"] for record in measured if "model" in record.signature}
        assert named == set(manifest["models"].values())
    elif "augmentation" in manifest:  # a downstream model is told by its data, which the generator made
        assert {record.signature["settings"]["generator"] for record in measured} == {manifest["model_fingerprint"]}
    else:
        assert {record.signature["model"] for record in measured} == {manifest["model_fingerprint"]}
    if manifest["dataset"].startswith("phantom"):
        assert manifest["dataset_fingerprint"] == load_dataset(manifest["dataset"]).fingerprint
        assert all(record.synthetic for record in records)
    if manifest["model"] in shipped():
        card = json.loads((SHIPPED / manifest["model"] / "card.json").read_text(encoding="utf-8"))
        assert manifest["model_fingerprint"] == card["fingerprint"]


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.name)
def test_a_committed_run_has_the_sums_that_it_names_and_they_give_its_values(run):
    found = verify(run)
    assert (found.problems, found.missing) == ([], {})


def test_the_shipped_model_has_results():
    assert {json.loads((run / "manifest.json").read_text())["model"] for run in RUNS} >= set(shipped())


# As published with the generators' outputs, of the strings as they are: BLEU-1..4, ROUGE-L, CIDEr.
PUBLISHED = {
    "template": (0.492603, 0.345090, 0.247993, 0.182413, 0.400070),
    "qwen-dino-sft-rag": (0.386319, 0.237406, 0.154767, 0.104615, 0.325874, 0.224881),
    "clinical-oracle-top50": (0.540898, 0.436026, 0.371248, 0.325783, 0.528731, 1.765804),
}
METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr")


@pytest.mark.parametrize("system", PUBLISHED)
def test_real_generators_have_their_published_scores(system):
    records = read_records(RESULTS / "iu-mrg-rl" / f"{system}-as-given" / "records.jsonl")
    values = {record.metric: record.value for record in records if record.kind == "measured"}
    assert [values[f"{metric} (as given)"] for metric in METRICS[: len(PUBLISHED[system])]] == pytest.approx(
        PUBLISHED[system], abs=6e-7
    )


def test_a_template_beats_a_trained_generator_and_anchors_show_it():
    """What the strict protocol and the anchors are for: one text for all cases scores above a model that looks at the image."""
    scores = {}
    for system in (*PUBLISHED, "copy-oracle-top20"):
        for record in read_records(RESULTS / "iu-mrg-rl" / f"{system}-strict-v1" / "records.jsonl"):
            if record.metric == "BLEU-4":
                scores[record.model] = record.value
                assert (record.n, record.coverage, record.dataset) == (382, 1.0, "indiana-test-382")
    assert scores["shuffled"] < scores["qwen-dino-sft-rag"] < scores["template"] < scores["real"]
    assert scores["real"] == pytest.approx(1)


def test_committed_results_hold_no_report_text():
    keys = {key for path in RESULTS.rglob("records.jsonl") for record in read_records(path) for key in record.signature}
    assert not keys & {"report", "reports", "text", "references"}
    assert not [path for path in RESULTS.rglob("*") if path.name in ("samples.jsonl", "generated.jsonl")]
