import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from leaderboard.record import Record, read_records
from leaderboard.site.page import TableView, guide_entries, render
from leaderboard.store import collect
from leaderboard.tables.boards import boards

RESULTS = Path(__file__).parents[3] / "leaderboard" / "results"


@pytest.fixture
def page(make_run):
    """Renders the records of a run folder after a change, without plots and galleries."""

    def make(**options):
        collection = collect([make_run(tasks=("report-generation",), samples=0, **options)])
        ranked = boards(collection.records, {"aaaa1111bbbb2222": "f"})
        return render([(b, [TableView(t, [], []) for t in b.tables]) for b in ranked], [], collection.runs)

    return make


def test_without_reported_numbers_and_samples_their_sections_are_absent(page):
    html = page()
    assert 'id="reported"' not in html
    assert "<h4>Samples" not in html
    assert "One model measured: there is nothing to rank." in html
    assert "value best" not in html


def test_values_intervals_and_directions_are_shown(page):
    html = page()
    assert '<span class="value">0.850</span><span class="ci">0.820 \N{EN DASH} 0.880</span>' in html
    assert 'aria-label="higher is better"' in html


def test_what_is_only_stated_is_marked_unverified(page, make_run):
    html = page()
    assert '0.880</span><span class="stated" title="unverified: as its run states it">‡</span></td>' in html
    assert "‡ Unverified: as its run states it, without sums by patient to recompute it from." in html
    run = make_run("sums", tasks=("report-generation",), samples=0)
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    for line in lines:
        line["signature"]["statistics"] = {"file": "statistics/x.npz", "key": line["metric"]}
    (run / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    collection = collect([run])
    (board,) = boards(collection.records, {"aaaa1111bbbb2222": "f"})
    html = render([(board, [TableView(t, [], []) for t in board.tables])], [], collection.runs)
    assert "nverified" not in html


def test_incomplete_coverage_is_marked(page):
    html = page(coverage=0.95)
    assert '<td data-sort="0.95" class="partial">95 %</td>' in html
    assert "coverage 95.0%: ranking needs every case" in html


def test_columns_of_ranges_are_sorted_by_their_lower_end(make_run):
    run = make_run(tasks=("report-generation",), samples=0)
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    for index, line in enumerate(lines):
        line["n"] = 1100 + index
    (run / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    collection = collect([run])
    (board,) = boards(collection.records, {"aaaa1111bbbb2222": "f"})
    html = render([(board, [TableView(t, [], []) for t in board.tables])], [], collection.runs)
    assert '<td data-sort="1100">1,100\N{EN DASH}1,1' in html


def test_every_id_can_stand_in_a_link_and_a_label(make_record):
    records = [
        Record(**make_record(task=task, metric="F1", signature={"metric": "F1"}))
        for task in ("augmentation (external-prior)", "augmentation (budget-matched)", "report-generation")
    ]
    (board,) = boards(records, {"aaaa1111bbbb2222": "f"})
    html = render([(board, [TableView(t, [], []) for t in board.tables])], [], {})
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert [name for name in ids if not re.fullmatch(r"[A-Za-z0-9-]+", name)] == []
    assert len(set(ids)) == len(ids)
    assert {"board1-augmentation-external-prior", "board1-report-generation"} <= set(ids)
    assert set(re.findall(r'aria-labelledby="([^"]*)"', html)) <= set(ids)
    assert set(re.findall(r'href="#([^"]*)"', html)) <= set(ids)


def test_breakdowns_say_what_their_items_are(make_record):
    items = {
        "gain over real-repeated: BLEU-1": "metric",
        "macro finding F1: chest-xray": "domain",
        "finding F1: nodule": "finding",
    }
    records = [Record(**make_record(metric=metric, signature={"metric": metric})) for metric in items]
    (board,) = boards(records, {"aaaa1111bbbb2222": "f"})
    html = render([(board, [TableView(t, [], []) for t in board.tables])], [], {})
    for metric, item in items.items():
        group = metric.partition(":")[0]
        assert re.search(rf"<summary>{group} by {item} ", html, re.IGNORECASE)
    assert re.findall(r'<table class="heat">\s*<thead><tr><th scope="col" class="system">(\w+)</th>', html) == [
        "Metric",
        "Domain",
        "Finding",
    ]


def test_an_ablations_arms_are_not_said_to_be_measured_otherwise(make_record):
    def arm(name, overrides, metric, value):
        signature = {"metric": metric, "overrides": overrides}
        fields = {"task": "ablation", "model": name, "metric": metric, "value": value, "higher_is_better": False}
        return Record(**make_record(**fields, ci_low=value - 1, ci_high=value + 1, signature=signature))

    records = [
        arm(name, overrides, metric, value)
        for metric in ("nats per pair (joint)", "change of nats per pair (joint)")
        for name, overrides, value in (("full", {}, 226.2), ("no-adaln", {"timestep": "additive"}, 226.1))
    ]
    (board,) = boards(records, {"aaaa1111bbbb2222": "f"})
    html = render([(board, [TableView(t, [], []) for t in board.tables])], [], {})
    assert "Measured otherwise" not in html
    assert html.count("value best") == 2 + 1  # both arms, and the legend's example
    assert "A change is against a base, which has none itself: shown, not ranked." in html
    assert "Not ranked" not in html


def test_boards_of_one_data_set_are_told_apart(make_run):
    collection = collect([make_run(tasks=("report-generation",), samples=0)])
    (one,) = boards(collection.records, {"aaaa1111bbbb2222": "f"})
    name = f"{one.dataset}, {one.split}"

    def links(*shown):
        html = render([(board, []) for board in shown], [], collection.runs)
        return [line for line in html.splitlines() if f">{name}" in line]

    assert f">{name}</a>" in links(one)[0]
    first, second = links(one, replace(one, protocol="as-given"))
    assert f">{name} ({one.protocol}, data f)</a>" in first
    assert f">{name} (as-given, data f)</a>" in second


def test_an_empty_page_stands(make_record):
    assert Record(**make_record()).kind == "measured"
    html = render([], [], {})
    assert "0 models on 0 boards" in html


def test_only_what_the_page_shows_is_explained():
    assert [e["title"] for e in guide_entries(["BLEU-4", "CIDEr"])] == ["BLEU-1 to BLEU-4", "CIDEr"]
    assert guide_entries(["unheard of"]) == []


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("FID", "FID"),
        ("FID (clean resize)", "FID"),
        ("FID∞", "FD∞, FID∞"),
        ("FID∞ (clean resize)", "FD∞, FID∞"),
        ("FD∞ (RadDINO)", "FD∞, FID∞"),
        ("Inception Score", "IS, Inception Score"),
        ("Inception Score (whole set)", "IS, Inception Score"),
        ("IS (EfficientNet-Lite0 logits)", "IS, Inception Score"),
        ("CMMD (clip)", "CMMD"),
        ("judge score", "Judge score, judge refusals"),
        ("checker macro F1", "Checker F1"),
        ("checker F1: edema", "Checker F1"),
        ("judge refusals", "Judge score, judge refusals"),
        ("anchored judge score", "Judge score, judge refusals"),
        ("KID (Inception-v3)", "KID"),
        ("KID (EfficientNet-Lite0)", "KID (EfficientNet-Lite0)"),
        ("Fréchet distance (RadDINO)", "Fréchet distance"),
        ("Fréchet distance (EfficientNet-Lite0)", "Fréchet distance (EfficientNet-Lite0)"),
        ("Vendi score (rad-dino)", "Vendi score"),
        ("image-report cosine (BiomedCLIP)", "Image-report cosine"),
        ("BERTScore F1 (roberta, layer 17 of 24)", "BERTScore"),
        ("report similarity (all-MiniLM-L6-v2)", "Report similarity"),
        ("GREEN", "GREEN"),
        ("RadCliQ-v1", "RadCliQ-v1"),
        ("RaTEScore", "RaTEScore"),
        ("RadGraph F1 (radgraph-xl), RG_E", "RadGraph"),
    ],
)
def test_each_metric_of_sets_and_judges_has_its_own_explanation(metric, title):
    assert [entry["title"] for entry in guide_entries([metric])] == [title]


def test_the_traps_are_told():
    text = {
        e["title"]: e["text"]
        for e in guide_entries(["KID (EfficientNet-Lite0)", "Fréchet distance (EfficientNet-Lite0)", "joint agreement"])
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
    assert [metric for metric in sorted(metrics) if not guide_entries([metric])] == []
