import csv
import io
import json

import pandas as pd
import pytest

from leaderboard.record import Record
from leaderboard.reported import reported_records, reported_tables
from leaderboard.tables.boards import boards
from leaderboard.tables.formats import (
    counts,
    decimals,
    direction_of,
    headline,
    long_csv,
    markdown,
    number,
    shares,
    table_markdown,
    wide_csv,
)


@pytest.fixture
def records(make_record):
    return [
        Record(**make_record(value=1 / 3, ci_low=0.1, ci_high=2 / 3, signature={"a": [1, 'é,\n"x"']})),
        Record(**make_record(metric="METEOR", value=None, reason='needs "Java", not here')),
        Record(**make_record(model="other, with comma", value=0.25, commit="", run="b", higher_is_better=None)),
        Record(**make_record(task="joint-generation", metric="joint agreement", value=1.0, kind="anchor", model="real")),
        *reported_records()[:3],
    ]


def test_one_record_does_not_turn_a_column(make_record):
    turned, *rest = [Record(**make_record(higher_is_better=better)) for better in (False, True, True)]
    assert direction_of([turned, *rest]) is True
    assert direction_of([turned]) is False
    assert direction_of([]) is None


def test_the_long_csv_has_every_field_of_a_record(records):
    text = long_csv(records)
    assert text.startswith("task,model,dataset,split,metric,value,")
    for row, record in zip(csv.DictReader(io.StringIO(text, newline="")), records, strict=True):
        fields = record.model_dump() | {"unverified": record.unverified}
        assert json.loads(row.pop("signature")) == fields.pop("signature")
        assert row == {name: "" if value is None else str(value) for name, value in fields.items()}


FORMULAS = ('=HYPERLINK("http://x","y")', "+1+1", "-2+3", "@SUM(1)", "\tcell", " =1+1", "'=1+1", "\uff1dSUM(1)")


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_is_a_formula_for_a_spreadsheet(make_record, name):
    """Numbers stay numbers: a value of -0.5 is no formula."""
    fields = {"model": name, "dataset": name, "metric": name, "task": name, "reason": name, "command": name, "value": -0.5}
    records = [Record(**make_record(**fields, ci_low=-1.0, ci_high=-0.25))]
    long = long_csv(records)
    read = pd.read_csv(io.StringIO(long), dtype=str, keep_default_na=False)
    assert set(read.loc[0, ["model", "dataset", "metric", "task", "reason", "command"]]) == {f"'{name}"}
    numbers = pd.read_csv(io.StringIO(long))
    assert numbers.loc[0, ["value", "ci_low", "ci_high"]].tolist() == [-0.5, -1.0, -0.25]
    assert numbers["value"].dtype == float
    wide = pd.read_csv(io.StringIO(wide_csv(records)))
    assert wide.columns[-1] == f"'{name}/{name}"
    assert wide[wide.columns[-1]].tolist() == [-0.5]
    assert wide["model"].tolist() == [f"'{name}"]


def test_what_is_only_stated_says_so(make_record):
    sums = {"statistics": {"file": "statistics/x.npz", "key": "BLEU-4"}}
    records = [
        Record(**make_record(signature=sums)),
        Record(**make_record(metric="FID", value=3.0)),
        Record(**make_record(metric="METEOR", value=None, reason="no Java")),
        *reported_records()[:1],
    ]
    assert [record.unverified for record in records] == [False, True, None, None]
    long = pd.read_csv(io.StringIO(long_csv(records)), dtype=str, keep_default_na=False)
    assert long["unverified"].tolist() == ["False", "True", "", ""]
    wide = pd.read_csv(io.StringIO(wide_csv(records)), keep_default_na=False)
    assert wide["unverified"].tolist() == ["report-generation/FID", ""]
    [board] = boards(records, {records[0].run: "f"})
    text = table_markdown(board.tables[0])
    assert "| 0.500 | 3.000 ‡ | [1] |" in text
    assert "‡ Unverified: as its run states it, without sums by patient" in text
    [board] = boards(records[:1], {records[0].run: "f"})
    assert "‡" not in table_markdown(board.tables[0])


def test_nothing_in_a_table_steers_a_terminal(make_record):
    [board] = boards([Record(**make_record(model="a\x1b[31mred\x07"))], {make_record()["run"]: "f"})
    assert "| a [31mred  |" in table_markdown(board.tables[0])


def test_the_wide_csv_has_one_row_a_system(records):
    frame = pd.read_csv(io.StringIO(wide_csv(records)))
    assert list(frame["model"]) == ["phantom-tiny", "other, with comma", "real", "SDM", "SDM (SFT)"]
    assert frame.loc[0, "report-generation/BLEU-4"] == 1 / 3
    assert pd.isna(frame.loc[0, "report-generation/METEOR"])
    assert frame.loc[2, "joint-generation/joint agreement"] == 1.0
    assert (frame.loc[3, "image-generation/FID"], frame.loc[3, "kind"]) == (120.28, "reported")


@pytest.mark.parametrize(
    ("values", "places", "shown"),
    [
        ([0.85123, 0.0421], 3, ["0.851", "0.042"]),
        ([120.28, 30.0, 0.5], 2, ["120.28", "30.00", "0.50"]),
        ([0.00012, -0.0003], 6, ["0.000120", "\N{MINUS SIGN}0.000300"]),
        ([None, 0.0], 3, []),
        ([12345.6], 0, ["12,346"]),
    ],
)
def test_a_column_shows_three_or_four_digits(values, places, shown):
    assert decimals(values) == places
    assert [number(value, places) for value in values if value] == shown


def test_a_small_value_never_shows_as_zero():
    assert number(0.00004, 3) == "4e\N{MINUS SIGN}05"
    assert number(0.0, 3) == "0.000"


def test_coverage_is_never_rounded_up_to_all(make_record):
    some = [Record(**make_record(coverage=value, n=n)) for value, n in ((0.9999, 10), (1.0, 20))]
    assert shares(some) == "99.9 %"
    assert shares(some[1:]) == "100 %"
    assert counts(some) == "10\N{EN DASH}20"


def test_a_row_sums_up_the_columns_of_which_cases_were_asked(make_record):
    asked = Record(**make_record(n=192, coverage=1.0))
    nothing = Record(**make_record(metric="METEOR", n=0, coverage=0.0, value=None, ci_low=None, ci_high=None, reason="none"))
    part = Record(**make_record(metric="finding F1: effusion", n=3, coverage=1.0))
    (board,) = boards([asked, nothing, part], {asked.run: "f"})
    (table,) = board.tables
    assert headline(table.rows[0], table.metrics) == [asked]
    assert headline(table.rows[0], ["METEOR"]) == [nothing]


def test_markdown_marks_best_anchors_and_reasons(make_record):
    rows = [
        Record(**make_record(value=0.7, ci_low=0.68, ci_high=0.72)),
        Record(**make_record(model="weak|er", value=0.5, ci_low=0.48, ci_high=0.52)),
        Record(**make_record(model="real", kind="anchor", value=0.9)),
        Record(**make_record(metric="METEOR", value=None, reason="needs Java")),
    ]
    text = markdown(boards(rows, {"aaaa1111bbbb2222": "f"}), reported_tables(reported_records()[:2], []))
    assert "| phantom-tiny | 256 | 100 % | **0.700** a (0.680 to 0.720) ‡ | [1] |" in text
    assert "| weak\\|er | 256 | 100 % | 0.500 b (0.480 to 0.520) ‡ |  |" in text
    assert "| *real* (anchor) | 256 | 100 % | 0.900 ‡ |  |" in text
    assert "- [1] needs Java" in text
    assert "Synthetic data" in text
    assert "not comparable" in text
    assert "| SDM (reported) | 120.28 | 2.92 |" in text
