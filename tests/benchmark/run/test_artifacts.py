import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.run.artifacts import Artifacts
from benchmark.sampling.samples import BEFORE
from benchmark.speed.sweep import FIGURES, PARETO, TABLE
from medim.common.errors import UserError


def test_a_stage_is_done_for_its_own_inputs_only(tmp_path):
    with Artifacts.claim(tmp_path / "o", {"a": 1}) as artifacts:
        assert artifacts.get("score", {"x": 1}) is None
        artifacts.put("score", {"x": 1, "y": [2]}, {"f1": 0.5})
        assert artifacts.get("score", {"y": [2], "x": 1}) == {"f1": 0.5}
        assert artifacts.get("score", {"x": 1, "y": [3]}) is None
    with Artifacts.claim(tmp_path / "o", {"a": 1}) as artifacts:
        assert artifacts.get("score", {"x": 1, "y": [2]}) == {"f1": 0.5}


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"a": 2, "b": {"c": [1]}}, "a = 1, and now a = 2"),
        ({"a": 1, "b": {"c": [2]}}, "b.c = [1], and now b.c = [2]"),
        ({"a": 1, "b": {"c": [1]}, "d": None}, "d = unset, and now d = null"),
        ({"a": 1}, "b.c = [1], and now b.c = unset"),
    ],
)
def test_another_configuration_is_refused_by_key(tmp_path, wanted, told):
    with Artifacts.claim(tmp_path / "o", {"a": 1, "b": {"c": (1,)}}):
        pass
    with pytest.raises(UserError) as error, Artifacts.claim(tmp_path / "o", wanted):
        pass
    assert told in str(error.value)


def test_overwrite_removes_what_runs_write_and_nothing_else(tmp_path):
    out = tmp_path / "o"
    with Artifacts.claim(out, {"a": 1}) as artifacts:
        artifacts.put("score", {}, 1)
        (out / "samples/task").mkdir(parents=True)
        (out / "records.jsonl").write_text("{}")
        (out / "notes.txt").write_text("mine")
    with Artifacts.claim(out, {"a": 2}, overwrite=True) as artifacts:
        assert artifacts.get("score", {}) is None
    assert sorted(path.name for path in out.iterdir()) == ["notes.txt", "stages"]
    assert json.loads((out / "stages/configuration.json").read_text()) == {"a": 2}


@pytest.mark.parametrize("last", ["samples", "synthetic", "stages/begun.json", "stages/score.json"])
def test_an_overwrite_that_was_killed_is_done_by_the_next(tmp_path, monkeypatch, last):
    out = tmp_path / "o"
    with Artifacts.claim(out, {"a": 1}) as artifacts:
        for stage in ("begun", "score"):
            artifacts.put(stage, {}, 1)
        for folder in ("samples", "synthetic"):
            (out / folder).mkdir()

    def killed(action):
        def stopped(path, *rest, **options):
            if path == out / last:
                raise KeyboardInterrupt
            return action(path, *rest, **options)

        return stopped

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed(shutil.rmtree))
        patched.setattr(Path, "unlink", killed(Path.unlink))
        with pytest.raises(KeyboardInterrupt), Artifacts.claim(out, {"a": 2}, overwrite=True):
            pass
    with Artifacts.claim(out, {"a": 2}, overwrite=True):
        assert [path.name for path in out.iterdir()] == ["stages"]


def test_overwrite_knows_what_edits_and_sweeps_write(tmp_path):
    with Artifacts.claim(tmp_path / "o", {"a": 1}):
        (tmp_path / "o" / BEFORE).mkdir()
        for name in (FIGURES, TABLE, PARETO):
            (tmp_path / "o" / name).write_text("old")
    with Artifacts.claim(tmp_path / "o", {"a": 2}, overwrite=True):
        assert [path.name for path in (tmp_path / "o").iterdir()] == ["stages"]


def test_a_folder_of_others_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError), Artifacts.claim(out, {}, overwrite=True):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_writer_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom benchmark.run.artifacts import Artifacts\n"
        "with Artifacts.claim(Path(sys.argv[1]), {'a': 1}):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "o")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="being worked on by another process"), Artifacts.claim(tmp_path / "o", {"a": 1}):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Artifacts.claim(tmp_path / "o", {"a": 1}) as artifacts:
        assert artifacts.get("score", {}) is None
