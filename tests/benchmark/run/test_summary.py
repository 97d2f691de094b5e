from benchmark.run.summary import summary
from leaderboard.record import Record
from tasks import task_named

HEADLINES = {name: task_named(name).headline_metrics for name in ("image-generation", "report-generation")}


def record(model, metric, value, kind="measured", task="report-generation", better=True):
    return Record(
        task=task, model=model, dataset="d", split="test", metric=metric, value=value, n=3, coverage=1.0, seed=0,
        protocol="strict-v1", signature={}, kind=kind, commit="c", command="x", created="2026-01-01T00:00:00+00:00",
        reason=None if value is not None else "Java is missing", higher_is_better=better, synthetic=True, run="r",
    )  # fmt: skip


def test_main_metrics_in_their_order_and_why_a_cell_is_empty():
    records = [
        record("m", "CIDEr", 1.23456),
        record("m", "METEOR", None),
        record("m", "distinct-2", 0.5),
        record("m", "BLEU-4", 0.25),
        record("real", "CIDEr", 10.0, "anchor"),
    ]
    assert summary(records, HEADLINES).splitlines() == [
        "report-generation  BLEU-4 ↑  METEOR ↑  CIDEr ↑",
        "----------------------------------------------",
        "m                      0.25         -    1.235",
        "  real (anchor)                             10",
        "  - METEOR: Java is missing",
    ]


def test_why_fid_is_withheld_stands_below_the_table():
    records = [record("m", "macro finding F1", 0.5, task="image-generation"), record("m", "FID", None, task="image-generation")]
    assert summary(records, HEADLINES).splitlines()[0].endswith("macro finding F1 ↑  FID ↑")
    assert summary(records, HEADLINES).splitlines()[-1] == "  - FID: Java is missing"


def test_a_task_without_main_metrics_shows_its_first():
    table = summary([record("m", f"metric {index}", 1.0, task="other", better=None) for index in range(9)], {})
    assert table.splitlines()[0].split("  ")[1:] == [f"metric {index}" for index in range(6)]


def test_a_metric_of_another_protocol_stands_in_its_column():
    records = [record("m", "BLEU-4 (r2gen)", 0.5), record("m", "distinct-2", 0.1), record("m", "CIDEr (r2gen)", 2.0)]
    assert summary(records, HEADLINES).splitlines()[0] == "report-generation  BLEU-4 (r2gen) ↑  CIDEr (r2gen) ↑"
