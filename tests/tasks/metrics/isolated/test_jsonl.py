import json
import sys

from tasks.metrics.isolated.jsonl import read, write


def test_rows_are_read_and_written_also_of_pairs_without_a_reference(tmp_path, monkeypatch):
    given, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": "a", "prediction": "x", "references": ["y", "z"]}, {"id": "b", "prediction": "w", "references": []}]
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(sys, "argv", ["metric.py", str(given), str(out)])
    read_rows, predictions, references = read()
    assert (predictions, references) == (["x", "w"], ["y", ""])
    write(read_rows, m=[1, 0.5])
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert written == [{"id": "a", "values": {"m": 1.0}}, {"id": "b", "values": {"m": 0.5}}]
