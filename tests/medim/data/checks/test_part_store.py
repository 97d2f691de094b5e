"""A check that was stopped: what it had read is not read again, unless it has changed, and the report is the same."""

import json

import numpy as np
import pytest

from medim.data.checks import reading
from medim.data.checks.check import check_dataset, open_for_check
from medim.data.checks.part_store import PartStore
from medim.data.checks.reading import parts, read_part
from medim.data.phantom.worlds import default_world
from medim.tokenizers.report import ReportTokenizer


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
