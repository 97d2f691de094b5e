"""The whole check: any data set, here or in workers, with or without a tokenizer."""

import json

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.data.checks import reading
from medim.data.checks.check import PartStore, check_dataset, open_for_check
from medim.data.checks.reading import parts, read_part
from medim.data.checks.report import ALLOWABLE
from medim.data.phantom.worlds import default_world
from medim.tokenizers.report import ReportTokenizer


def test_leaking_folders_open_for_the_check_and_errors_come_first(folder, row):
    path = folder(row("a", "train", patient="x"), row("b", "test", patient="x", report="short"))
    (path / "b.png").write_bytes(b"none")
    report = check_dataset(open_for_check(str(path)))
    assert [issue.severity for issue in report.issues] == ["error", "failure", "note"]
    assert [leak.kind for leak in report.leaks()] == ["patient-leakage"]
    assert report.leaks(["patient-leakage"]) == []
    assert report.failures[0][0] == "b"
    with pytest.raises(UserError, match="did you mean 'patient-leakage'"):
        report.leaks(["patient-leak"])
    lines = "\n".join(report.lines(["patient-leakage"]))
    assert "allowed  patient-leakage" in lines
    assert "error" not in lines
    assert json.loads(json.dumps(report.to_json(ALLOWABLE)))["allowed"] == sorted(ALLOWABLE)


def test_broken_lines_are_failures_and_the_rest_is_checked(folder, row):
    path = folder(row("a", "train"), row("b", "train"), row("c", "val", report=" "), row("d", "test"))
    (path / "b.png").unlink()
    report = check_dataset(open_for_check(str(path)))
    assert report.sizes == {"train": 1, "val": 0, "test": 1}
    assert [reason.removeprefix(f"{path}/") for _, reason in report.failures] == [
        "pairs.jsonl:2: image 'b.png' does not exist",
        "pairs.jsonl:3: field 'report' is empty",
    ]
    assert report.issues[0].message == "2 of 4 pairs cannot be read"


def test_synthetic_sets_are_read_in_part_and_leak_nothing():
    report = check_dataset(default_world(64), limit=40)
    assert report.sizes == {"train": 40, "val": 40, "test": 40}
    assert report.fingerprint is None
    assert report.leaks() == []
    assert report.statistics["train"]["domains"] == {"chest-xray": 20, "pathology": 20}
    assert "40 of 49152 train" in report.issues[-1].message


def test_workers_find_the_same():
    alone, together = (check_dataset(default_world(64), limit=20, workers=workers) for workers in (0, 1))
    assert alone == together


def test_reports_longer_than_the_model(folder, row):
    reports = ["one two three four five six", "one two", "one two three"]
    tokenizer = ReportTokenizer.train(reports * 9, 300, 8)
    path = folder(*(row(name, "train", report=report) for name, report in zip("abc", reports, strict=True)))
    report = check_dataset(open_for_check(str(path)), tokenizer=tokenizer, lengths=(3, 4, 7))
    lengths = [len(tokenizer.ids(text)) + 1 for text in reports]
    assert report.statistics["train"]["reports"]["tokens"]["most"] == max(lengths)
    cut = {most: sum(length > most for length in lengths) for most in (3, 4, 7)}
    shares = report.statistics["train"]["reports"]["longer"]
    assert shares == {str(most): count / 3 for most, count in cut.items()}
    issues = [issue for issue in report.issues if issue.kind == "truncated-reports"]
    assert len(issues) == sum(count > 0 for count in cut.values())
    assert all(not tokenizer.fits(text) for text, length in zip(reports, lengths, strict=True) if length > 8)


def test_small_pictures_are_named_at_a_resolution(folder, row):
    path = folder(row("a", "train"))
    assert not check_dataset(open_for_check(str(path)), resolution=96).issues
    (issue,) = check_dataset(open_for_check(str(path)), resolution=97).issues
    assert issue.kind == "small-images"


@pytest.mark.parametrize(("name", "limit", "pairs"), [("cxr", None, 214), ("pathology", 30, 90), ("cxr-images-only", 20, 60)])
def test_real_sets_leak_nothing(shared_data, name, limit, pairs):
    report = check_dataset(open_for_check(str(shared_data / name)), limit=limit)
    assert sum(report.sizes.values()) == pairs
    assert report.leaks() == []
    assert report.failures == ()
    found = {issue.kind: issue for issue in report.issues}
    if name == "cxr":  # one patient of two case reports, and characters that the source lost
        assert found["near-duplicates-within"].message.startswith("4 pairs")
        assert found["damaged-text"].message == "question marks inside words in 14 reports, replacement characters in 4 reports"


@pytest.fixture
def path(folder, row, monkeypatch):
    """Ten pairs, read two at a time; the seventh picture is broken, a report is damaged."""
    monkeypatch.setattr(reading, "CHUNK", 2)
    rows = [row(f"{number:02d}", "train" if number < 8 else "test") for number in range(10)]
    rows[2]["report"] = "<b>none</b> &amp; ??? \ufffd"
    path = folder(*rows)
    (path / "06.png").write_bytes(b"no picture")
    return path


@pytest.fixture
def read(monkeypatch):
    """The parts that are read, by their first pair; the third may be the last one before the process is stopped."""
    seen: list[tuple[str, int]] = []
    stop: list[int] = []

    def counted(dataset, part, tokenizer):
        if stop and len(seen) == stop[0]:
            raise KeyboardInterrupt
        seen.append((part.split, part.start))
        return read_part(dataset, part, tokenizer)

    monkeypatch.setattr(reading, "read_part", counted)
    return seen, stop


def check(path, file, **options):
    dataset = open_for_check(str(path))
    return check_dataset(dataset, store=PartStore(file, dataset, options.get("tokenizer")), **options)


def test_a_stopped_check_reads_the_rest_and_tells_the_same(path, read, tmp_path):
    seen, stop = read
    whole = check_dataset(open_for_check(str(path))).to_json()
    seen.clear()
    stop.append(3)
    with pytest.raises(KeyboardInterrupt):
        check(path, tmp_path / "read")
    (tmp_path / "read" / ".0123456789abcdef.0a1b2c3d.npz").write_bytes(b"half")  # what a killed process may leave
    assert seen == [("train", 0), ("train", 2), ("train", 4)]
    seen.clear()
    stop.clear()
    assert check(path, tmp_path / "read").to_json() == whole
    assert seen == [("train", 6), ("test", 0)]
    seen.clear()
    assert check(path, tmp_path / "read").to_json() == whole
    assert seen == []


def test_parts_that_changed_are_read_again(path, read, tmp_path):
    seen, _ = read
    before = check(path, tmp_path / "read")
    assert [item for item, _ in before.failures] == ["06"]
    seen.clear()
    (path / "06.png").write_bytes((path / "05.png").read_bytes())
    assert check(path, tmp_path / "read").failures == ()
    assert seen == [("train", 6)]
    lines = (path / "pairs.jsonl").read_text().splitlines()
    lines[9] = json.dumps(json.loads(lines[9]) | {"report": "another text"})
    (path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    seen.clear()
    check(path, tmp_path / "read")
    assert seen == [("test", 0)]


def test_what_counts_tokens_belongs_to_what_was_read(path, read, tmp_path):
    seen, _ = read
    check(path, tmp_path / "read")
    seen.clear()
    tokenizer = ReportTokenizer.train(["the lungs are clear"], 300, 16)
    check(path, tmp_path / "read", tokenizer=tokenizer)
    assert len(seen) == 5


def test_a_set_without_files_goes_by_its_fingerprint(tmp_path):
    dataset = default_world(64)
    (part,) = parts({"train": 4})
    store = PartStore(tmp_path / "read", dataset)
    rows, tally = read_part(dataset, part, None)
    assert store.get(part) is None
    store.put(part, rows, tally)
    again, told = PartStore(tmp_path / "read", default_world(64)).get(part)
    assert np.array_equal(again, rows)
    assert told == tally
    assert PartStore(tmp_path / "read", default_world(32)).get(part) is None
    store.clear()
    assert not (tmp_path / "read").exists()
    assert PartStore(tmp_path / "read", dataset).get(part) is None
