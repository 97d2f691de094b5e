"""The campaigns in little: that what they would find is found, and that the first mutants of every file are read rightly."""

import json
import os

import pytest

from medim.common.errors import UserError
from tests.campaigns.chaos.snapshot import differences, snapshot
from tests.campaigns.fuzz.__main__ import fuzz
from tests.campaigns.fuzz.guard import watched
from tests.campaigns.fuzz.targets import targets


def test_the_first_mutants_of_every_file_are_accepted_rightly_or_refused(tmp_path):
    for target in targets(tmp_path):
        tally = fuzz(target, tmp_path, range(12), seed=0)
        assert not tally.faults, (target.file.name, tally.first)
        assert tally.accepted + tally.refused == 12


def refuses_with(message):
    raise UserError(message)


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: os.write(2, b"so"), "printed: so"),
        (lambda: refuses_with("x" * 9000), "a message of 9000 characters"),
    ],
)
def test_what_a_reader_may_not_do_is_a_fault(read, fault):
    assert watched(read, (UserError,))[2][0].startswith(fault)
    assert watched(lambda: refuses_with("x"), (UserError,)) == (None, "x", [])


def test_another_value_and_a_file_left_over_are_differences_and_a_time_is_none(tmp_path):
    for name, value, seconds in (("whole", 1, 3.5), ("other", 2, 4.5)):
        (tmp_path / name / "out").mkdir(parents=True)
        lines = [{"value": 0, "seconds": seconds}, {"value": value}]
        (tmp_path / name / "out/records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / name / "out/time.json").write_text(json.dumps({"created": seconds}))
    (tmp_path / "other/out/.x.tmp").touch()
    whole, other = (snapshot(tmp_path / name / "out") for name in ("whole", "other"))
    assert differences(whole, whole) == []
    assert differences(whole, other) == ["differs: out/records.jsonl at [1].value: 1 against 2", "left over: out/.x.tmp"]
