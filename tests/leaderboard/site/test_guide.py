import json
from importlib.resources import files
from pathlib import Path

import pytest

from leaderboard.record import read_records
from leaderboard.site.guide import entries_for

RESULTS = Path(__file__).parents[3] / "leaderboard" / "results"


def test_only_what_the_page_shows_is_explained():
    assert [e.title for e in entries_for(["BLEU-4", "CIDEr"])] == ["BLEU-1 to BLEU-4", "CIDEr"]
    assert entries_for(["unheard of"]) == []


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("FID", "FID"), ("FID (clean resize)", "FID"), ("FID∞", "FD∞, FID∞"), ("FID∞ (clean resize)", "FD∞, FID∞"),
        ("FD∞ (RadDINO)", "FD∞, FID∞"), ("Inception Score", "IS, Inception Score"),
        ("Inception Score (whole set)", "IS, Inception Score"), ("IS (EfficientNet-Lite0 logits)", "IS, Inception Score"),
        ("CMMD (clip)", "CMMD"), ("judge score", "Judge score, judge refusals"),
        ("judge refusals", "Judge score, judge refusals"),
        ("anchored judge score", "Judge score, judge refusals"), ("KID (Inception-v3)", "KID"),
        ("KID (EfficientNet-Lite0)", "KID (EfficientNet-Lite0)"), ("Fréchet distance (RadDINO)", "Fréchet distance"),
        ("Fréchet distance (EfficientNet-Lite0)", "Fréchet distance (EfficientNet-Lite0)"),
    ],
)  # fmt: skip
def test_each_metric_of_sets_and_judges_has_its_own_explanation(metric, title):
    assert [entry.title for entry in entries_for([metric])] == [title]


def test_the_traps_are_told():
    text = {
        e.title: e.text
        for e in entries_for(["KID (EfficientNet-Lite0)", "Fréchet distance (EfficientNet-Lite0)", "joint agreement"])
    }
    assert "not FID" in text["Fréchet distance (EfficientNet-Lite0)"]
    assert "not ranked" in text["KID (EfficientNet-Lite0)"]
    assert "(real \N{MINUS SIGN} shuffled)" in text["Joint agreement"]


def test_every_explanation_says_what_the_metric_cannot_tell():
    everything = json.loads(files("leaderboard.site").joinpath("guide.json").read_text("utf-8"))
    assert all(entry["limits"].strip().startswith(("It ", "They ")) for entry in everything)
    assert len({entry["title"] for entry in everything}) == len(everything)


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("records.jsonl")), ids=lambda path: path.parent.name)
def test_no_metric_of_the_committed_results_is_left_unexplained(path):
    metrics = {record.metric for record in read_records(path)}
    assert [metric for metric in sorted(metrics) if not entries_for([metric])] == []
