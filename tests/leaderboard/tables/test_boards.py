import pytest

from leaderboard.record import Record
from leaderboard.tables.boards import boards, breakdown, rows_of


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


def test_boards_keep_data_split_and_protocol_apart(cell):
    records = [
        cell(),
        cell(split="val"),
        cell(protocol="medim-paper-v1"),
        cell(dataset="cxr"),
        cell(run="other-content"),
        cell(kind="reported"),
    ]
    found = boards(records, {"aaaa1111bbbb2222": "f1", "other-content": "f2"})
    assert [(b.dataset, b.fingerprint, b.split, b.protocol) for b in found] == [
        ("phantom", "f1", "test", "strict-v1"),
        ("phantom", "f1", "val", "strict-v1"),
        ("phantom", "f1", "test", "medim-paper-v1"),
        ("cxr", "f1", "test", "strict-v1"),
        ("phantom", "f2", "test", "strict-v1"),
    ]
    assert all(row.kind != "reported" for board in found for table in board.tables for row in table.rows)


def test_anchors_measured_again_appear_once_and_models_of_two_runs_twice(cell):
    anchors = [cell(0.9, kind="anchor", model="real", run=run) for run in ("r1", "r2")]
    models = [cell(value, model="m", run=run) for value, run in ((0.5, "r1"), (0.6, "r2"))]
    assert [row.label for row in rows_of([*anchors, *models])] == ["real", "m (run r1)", "m (run r2)"]


def test_run_ids_that_begin_alike_are_shown_until_they_differ(cell):
    """The id of a submitted run need not be a hash."""
    values = {"submission-1": 0.5, "submission-2": 0.6, "submission-10": 0.7}
    table = boards([cell(value, model="m", run=run) for run, value in values.items()], dict.fromkeys(values, "f"))[0].tables[0]
    assert {row.label: row.first.value for row in table.rows} == {
        "m (run submission-1)": 0.5,
        "m (run submission-2)": 0.6,
        "m (run submission-10)": 0.7,
    }
    assert len(table.column("BLEU-4")) == 3


def test_anchors_that_differ_keep_their_runs(cell):
    rows = rows_of([cell(value, kind="anchor", model="reconstruction", run=run) for value, run in ((0.8, "r1"), (0.9, "r2"))])
    assert [row.label for row in rows] == ["reconstruction (run r1)", "reconstruction (run r2)"]


def test_seeds_are_told_apart(cell):
    rows = rows_of([cell(0.5, seed=0), cell(0.6, seed=1, run="r2")])
    assert [row.label for row in rows] == ["phantom-tiny (seed 0)", "phantom-tiny (seed 1)"]


def test_rows_are_ordered_by_place_then_the_anchors(cell):
    records = [
        cell(0.1, kind="anchor", model="constant"),
        cell(0.4, 0.01, model="weak"),
        cell(0.9, kind="anchor", model="real"),
        cell(0.6, 0.01, model="strong"),
        cell(0.3, kind="anchor", model="shuffled"),
    ]
    table = boards(records, {"aaaa1111bbbb2222": "f"})[0].tables[0]
    assert [row.label for row in table.rows] == ["strong", "weak", "real", "shuffled", "constant"]


def test_columns_that_rank_come_first(cell):
    names = ["KID (EfficientNet-Lite0)", "distinct reports", "macro finding F1", "finding F1: nodule"]
    records = [cell(metric=name, higher_is_better=None if name.startswith("distinct") else True) for name in names]
    table = boards(records, {"aaaa1111bbbb2222": "f"})[0].tables[0]
    assert table.metrics == ["macro finding F1", "distinct reports", "KID (EfficientNet-Lite0)"]
    assert table.details == ["finding F1: nodule"]
