import json

import pytest

from leaderboard.record import Record, read_records, write_records
from medim.common.errors import UserError
from medim.common.json_lines import parse_model


def test_records_survive_writing_and_reading(tmp_path, make_record):
    records = [
        Record(**make_record(value=1 / 3, ci_low=0.1, ci_high=0.5, signature={"tokens": ["ä", 1, None], "nested": {"a": 0.1}})),
        Record(**make_record(metric="METEOR", value=None, reason="METEOR 1.5 needs Java")),
    ]
    write_records(tmp_path / "records.jsonl", records)
    assert read_records(tmp_path / "records.jsonl") == records
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "0.5"}, "field 'value': Input should be a valid number (given: '0.5')"),
        ({"coverage": 1.2}, "field 'coverage': Input should be less than or equal to 1 (given: 1.2)"),
        ({"value": None}, "a record without a value needs a reason"),
        ({"ci_low": 0.1}, "ci_low and ci_high come together"),
        ({"ci_low": 0.2, "ci_high": 0.1}, "ci_low 0.2 is above ci_high 0.1"),
        ({"kind": "guessed"}, "field 'kind': Input should be 'measured', 'anchor' or 'reported' (given: 'guessed')"),
        ({"created": "yesterday"}, "field 'created': Invalid isoformat string: 'yesterday' (given: 'yesterday')"),
        ({"coverge": 1.0}, "unknown field 'coverge'; did you mean 'coverage'? (known: "),
        ({"n": None}, "n, coverage and seed may be null only in records of kind 'reported'"),
    ],
)
def test_a_bad_field_is_named_with_file_and_line(tmp_path, make_record, changes, message):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(make_record()) + "\n\n" + json.dumps(make_record(**changes)) + "\n")
    with pytest.raises(UserError) as error:
        read_records(path)
    assert str(error.value).startswith(f"{path}:3: {message}")


def test_a_missing_field_is_named(make_record):
    record = make_record()
    del record["dataset"]
    with pytest.raises(UserError, match=r"^r\.jsonl:1: field 'dataset': Field required$"):
        parse_model((json.dumps(record)).encode(), Record, "r.jsonl:1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"task": ', "broken JSON: "),
        ("[1]", "an object of fields is needed, not list"),
        ('{"value": NaN}', "r.jsonl:7: "),
        ('{"n": 1, "signature": {"n": 1, "n": 2}}', "broken JSON: field 'n' stands twice"),
        ('{"task": ' + str(list(range(9000))) + "}", "r.jsonl:7: "),
    ],
)
def test_a_malformed_line_is_named(line, message):
    with pytest.raises(UserError, match=r"r\.jsonl:7: ") as error:
        parse_model(line.encode(), Record, "r.jsonl:7")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_nan_is_no_value(make_record):
    with pytest.raises(UserError, match=r"field 'value' is NaN"):
        parse_model((json.dumps(make_record(value=float("nan")))).encode(), Record, "r.jsonl:1")


@pytest.mark.parametrize(
    "part",
    ["NaN", "1e999", '"\\ud800"', '{"\\udfff": 1}', "[" * 100_000, "[" * 100 + "]" * 100, "1" * 5_000],
    ids=lambda part: part[:8],
)
def test_what_cannot_be_written_again_is_no_part_of_a_signature(make_record, part):
    line = json.dumps(make_record(signature={"part": "here"})).replace('"here"', part)
    with pytest.raises(UserError, match=r"^r\.jsonl:1: ") as error:
        parse_model(line.encode(), Record, "r.jsonl:1")
    str(error.value).encode()


def test_how_deep_a_signature_may_be_does_not_depend_on_python(make_record):
    line = json.dumps(make_record(signature={"part": "here"}))
    parse_model((line.replace('"here"', "[" * 98 + "]" * 98)).encode(), Record, "r.jsonl:1")
    for part in ("[" * 99 + "]" * 99, "[" * 2_000 + "]" * 2_000, "[" * 100_000):
        with pytest.raises(UserError, match=r"^r\.jsonl:1: lists and objects are nested more than 100 deep$"):
            parse_model((line.replace('"here"', part)).encode(), Record, "r.jsonl:1")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl: cannot be read: No such file"):
        read_records(tmp_path / "none.jsonl")
