"""Lines as other programs leave them: what is kept, and how mistakes are told."""

import pytest
from pydantic import BaseModel

from medim.common.errors import UserError
from medim.common.json_lines import BOM, numbered_lines, parse_json, read_models


def test_lines_end_at_line_feeds_and_keep_their_numbers(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(BOM + b'"a"\r\n \n"x\xe2\x80\xa8y"')
    lines = list(numbered_lines(tmp_path / "a.jsonl"))
    assert [(number, parse_json(line)) for number, line in lines] == [(1, "a"), (3, "x\u2028y")]
    with pytest.raises(UserError, match="cannot be read"):
        next(numbered_lines(tmp_path / "b.jsonl"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a": ', r"broken JSON: Expecting value \(column 7\)"),
        (b'{"a": {"b": 1, "b": 1}}', "broken JSON: field 'b' stands twice"),
        (b'"caf\xe9"', "not UTF-8: byte 5"),
        (rb'{"a": ["\ud800"]}', "half of a surrogate pair"),
        (rb'"\uDC00"', "half of a surrogate pair"),
        (b"[" * 100_000, "^lists and objects are nested more than 100 deep$"),
        (b"[" * 101 + b"]" * 101, "^lists and objects are nested more than 100 deep$"),
        (b'{"a": [' * 51 + b"]}" * 51, "^lists and objects are nested more than 100 deep$"),
        (b'{"a": {"b": [1, NaN]}}', r"^field 'a\.b\.1' is NaN, which JSON does not have: leave the field out, or write null"),
        (b'{"a": -1e999}', "^field 'a' is -Infinity"),
        (b'{"a": 1}\r{"a": 2}\r', "broken JSON: Extra data .*; lines end in CR alone"),
    ],
)
def test_a_line_that_is_no_json_says_why(line, message):
    with pytest.raises(UserError, match=message):
        parse_json(line)


def test_how_deep_a_value_may_be_does_not_depend_on_python():
    assert parse_json(b"[" * 100 + b"]" * 100)
    assert parse_json(b"[" + b", ".join([b"[{}]"] * 200) + b"]") == [[{}]] * 200


def test_a_whole_surrogate_pair_is_one_character():
    assert parse_json(rb'"\ud83d\ude00"') == "\U0001f600"


class Line(BaseModel):
    n: int


def test_lines_are_read_as_models_and_the_first_bad_one_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n\n{"n": 2}\n')
    assert list(read_models(path, Line)) == [(f"{path}:1", Line(n=1)), (f"{path}:3", Line(n=2))]
    for line, message in (("[1]", "an object of fields is needed, not list"), ('{"n": "1"}', "field 'n': Input should be a")):
        path.write_text(f'{{"n": 1}}\n{line}\n')
        with pytest.raises(UserError, match=f"a.jsonl:2: {message}"):
            list(read_models(path, Line))
