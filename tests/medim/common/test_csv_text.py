import csv
import io

import pytest

from medim.common.csv_text import csv_text

FORMULAS = (
    '=HYPERLINK("http://x","y")',
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\tcell",
    "\ncell",
    " =1+1",
    "'=1+1",
    "=cmd|' /C calc'!A0",
    "\uff1dSUM(1)",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula_for_a_spreadsheet(text):
    header, row = csv.reader(io.StringIO(csv_text(["name", text], [{"name": text, text: -0.5}]), newline=""))
    assert header == ["name", f"'{text}"]
    assert row == [f"'{text}", "-0.5"]


@pytest.mark.parametrize("text", ["phantom-tiny", "a=b", "-", "+", "it's", "", "'quoted'", "Röntgen, 7B", "1.5"])
def test_other_text_is_as_it_was(text):
    assert list(csv.DictReader(io.StringIO(csv_text(["name"], [{"name": text}])))) == (
        [{"name": text}] if text else [{"name": ""}]
    )


def test_no_carriage_return_ends_a_row():
    assert csv_text(["name"], [{"name": "a\rb"}, {"name": "\r=1+1"}]) == "name\na b\n' =1+1\n"


def test_numbers_and_blanks_are_as_they_were():
    assert csv_text(["a", "b", "c"], [{"a": -0.5, "b": None}, {"a": -1e-07, "b": -3, "c": True}]) == (
        "a,b,c\n-0.5,,\n-1e-07,-3,True\n"
    )
    with pytest.raises(ValueError, match="not in fieldnames"):
        csv_text(["a"], [{"b": 1}])
