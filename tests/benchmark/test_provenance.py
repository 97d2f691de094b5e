import re
from datetime import datetime

import medim
from benchmark import provenance


def test_commit_is_a_hash_or_the_version():
    assert re.fullmatch(rf"[0-9a-f]{{40}}(-dirty)?|v{re.escape(medim.__version__)}", provenance.commit())


def test_commit_outside_a_checkout_is_the_version(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    assert provenance.commit() == f"v{medim.__version__}"


def test_command_line_can_be_pasted_into_a_shell():
    assert provenance.command_line(["run", "all", "--out", "my runs"]) == "medim-bench run all --out 'my runs'"


def test_now_is_iso_8601_with_a_zone():
    assert datetime.fromisoformat(provenance.now()).utcoffset() is not None


def test_versions_name_python_and_torch():
    found = provenance.versions()
    assert found["torch"]
    assert re.fullmatch(r"3\.\d+\.\d+", found["python"])


def test_code_fingerprint_follows_the_source(monkeypatch, tmp_path):
    package = tmp_path / "tasks"
    package.mkdir()
    (package / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    before = provenance.code_fingerprint("tasks")
    (package / "notes.txt").write_text("no code")
    assert provenance.code_fingerprint("tasks") == before
    (package / "guide.json").write_text("[]")
    assert provenance.code_fingerprint("tasks") != before
    before = provenance.code_fingerprint("tasks")
    (package / "a.py").write_text("x = 2\n")
    assert provenance.code_fingerprint("tasks") != before
