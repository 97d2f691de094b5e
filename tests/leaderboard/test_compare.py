import pytest

from leaderboard.compare import Standing, boards, breakdown, overlap, rows_of, standings, unranked_because
from leaderboard.record import Record


@pytest.fixture
def cell(make_record):
    def make(value=0.5, half=None, **changes):
        interval = {} if half is None else {"ci_low": value - half, "ci_high": value + half}
        return Record(**make_record(value=value, **interval, **changes))

    return make


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("prevalence: left effusion (image)", ("prevalence", "left effusion", "image")),
        ("finding F1: nodule", ("finding F1", "nodule", None)),
        ("prevalence: effusion (left) (report)", ("prevalence", "effusion (left)", "report")),
    ],
)
def test_a_breakdown_is_split(name, parts):
    part = breakdown(name)
    assert (part.group, part.item, part.modality) == parts


def test_a_metric_by_itself_is_no_breakdown():
    assert breakdown("KID (EfficientNet-Lite0)") is None


def test_higher_and_lower_are_ranked_each_their_way(cell):
    assert standings({"a": cell(0.5), "b": cell(0.7), "c": cell(0.6)}) == {
        "b": Standing(1, True, True), "c": Standing(2, False, False), "a": Standing(3, False, False),
    }  # fmt: skip
    lower = standings({"a": cell(5.0, higher_is_better=False), "b": cell(7.0, higher_is_better=False)})
    assert lower["a"] == Standing(1, True, True)


def test_overlapping_intervals_are_not_separable(cell):
    column = {"a": cell(0.70, 0.03), "b": cell(0.66, 0.02), "c": cell(0.60, 0.02)}
    found = standings(column)
    assert [found[name].best for name in "abc"] == [True, True, False]
    assert not any(standing.alone for standing in found.values())
    assert overlap(cell(0.5, 0.1), cell(0.6))
    assert not overlap(cell(0.5, 0.09), cell(0.6))


def test_equal_values_share_a_place(cell):
    found = standings({"a": cell(0.5), "b": cell(0.5), "c": cell(0.4)})
    assert [found[name].place for name in "abc"] == [1, 1, 3]
    assert found["a"].best
    assert not found["a"].alone


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "anchor"}, "an anchor"),
        ({"kind": "reported"}, "reported by the paper"),
        ({"coverage": 0.999}, "coverage 99.9%"),
        ({"n": 99}, "99 cases: ranking needs 100"),
        ({"higher_is_better": None}, "descriptive"),
        ({"metric": "KID (EfficientNet-Lite0)"}, "trained against"),
        ({"value": None, "reason": "no Java"}, "no Java"),
    ],
)
def test_what_may_not_be_ranked_never_is(cell, make_record, changes, words):
    barred = Record(**make_record(**{"value": 99.0, **changes}))
    assert words in unranked_because(barred)
    found = standings({"barred": barred, "a": cell(0.5), "b": cell(0.4)})
    assert list(found) == ["a", "b"]
    assert standings({"barred": barred, "a": cell(0.5)}) == {}


def test_only_one_measure_is_ranked(cell):
    same = {"metric": "BLEU-4", "resolution": 64}
    column = {
        "a": cell(0.5, signature={**same, "model": "x"}),
        "b": cell(0.4, signature={**same, "model": "y", "settings": {"steps": 9}, "interval": "95 %, seed 1"}),
        "c": cell(0.9, signature={**same, "resolution": 128}),
        "d": cell(0.9, n=512, signature=same),
    }
    assert list(standings(column)) == ["a", "b"]


def test_boards_keep_data_split_and_protocol_apart(cell):
    records = [
        cell(), cell(split="val"), cell(protocol="medim-paper-v1"), cell(dataset="cxr"),
        cell(run="other-content"), cell(kind="reported"),
    ]  # fmt: skip
    found = boards(records, {"aaaa1111bbbb2222": "f1", "other-content": "f2"})
    assert [(b.dataset, b.fingerprint, b.split, b.protocol) for b in found] == [
        ("phantom", "f1", "test", "strict-v1"), ("phantom", "f1", "val", "strict-v1"),
        ("phantom", "f1", "test", "medim-paper-v1"), ("cxr", "f1", "test", "strict-v1"), ("phantom", "f2", "test", "strict-v1"),
    ]  # fmt: skip
    assert all(row.kind != "reported" for board in found for table in board.tables for row in table.rows)


def test_anchors_measured_again_appear_once_and_models_of_two_runs_twice(cell):
    anchors = [cell(0.9, kind="anchor", model="real", run=run) for run in ("r1", "r2")]
    models = [cell(value, model="m", run=run) for value, run in ((0.5, "r1"), (0.6, "r2"))]
    assert [row.label for row in rows_of([*anchors, *models])] == ["real", "m (run r1)", "m (run r2)"]


def test_anchors_that_differ_keep_their_runs(cell):
    rows = rows_of([cell(value, kind="anchor", model="reconstruction", run=run) for value, run in ((0.8, "r1"), (0.9, "r2"))])
    assert [row.label for row in rows] == ["reconstruction (run r1)", "reconstruction (run r2)"]


def test_seeds_are_told_apart(cell):
    rows = rows_of([cell(0.5, seed=0), cell(0.6, seed=1, run="r2")])
    assert [row.label for row in rows] == ["phantom-tiny (seed 0)", "phantom-tiny (seed 1)"]


def test_rows_are_ordered_by_place_then_the_anchors(cell):
    records = [
        cell(0.1, kind="anchor", model="constant"), cell(0.4, model="weak"), cell(0.9, kind="anchor", model="real"),
        cell(0.6, model="strong"), cell(0.3, kind="anchor", model="shuffled"),
    ]  # fmt: skip
    table = boards(records, {"aaaa1111bbbb2222": "f"})[0].tables[0]
    assert [row.label for row in table.rows] == ["strong", "weak", "real", "shuffled", "constant"]


def test_columns_that_rank_come_first(cell):
    names = ["KID (EfficientNet-Lite0)", "distinct reports", "macro finding F1", "finding F1: nodule"]
    records = [cell(metric=name, higher_is_better=None if name.startswith("distinct") else True) for name in names]
    table = boards(records, {"aaaa1111bbbb2222": "f"})[0].tables[0]
    assert table.metrics == ["macro finding F1", "distinct reports", "KID (EfficientNet-Lite0)"]
    assert table.details == ["finding F1: nodule"]
