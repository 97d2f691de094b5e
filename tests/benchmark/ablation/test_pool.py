"""Processes: as many at once as asked, a failure names its log and stops nothing, stopping reaches the children."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.ablation import pool
from benchmark.ablation.plan import Evaluation, Job
from benchmark.ablation.pool import run_jobs, threads_each

CHILD = """
import json, os, sys, time
job = json.loads(sys.stdin.readline())
folder = os.path.join(job["out"], job["arm"], f"seed-{job['seed']}")
started = time.time()
time.sleep(0.4)
with open(os.path.join(folder, "seen.json"), "w") as file:
    json.dump({"threads": os.environ["OMP_NUM_THREADS"], "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
               "times": [started, time.time()]}, file)
if job["arm"] == "broken":
    print("error: the recipe is wrong", file=sys.stderr)
    sys.exit(2)
if job["arm"] == "endless":
    sys.stdin.read()
    open(os.path.join(folder, "stopped"), "w").close()
"""


def job(out: Path, arm: str, seed: int = 0) -> Job:
    return Job(arm, seed, "phantom-tiny", "phantom", out, ("max_steps=5",), Evaluation(), None)


@pytest.fixture
def command(monkeypatch) -> list[str]:
    monkeypatch.setattr(pool, "POLL_SECONDS", 0.02)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return [sys.executable, "-c", CHILD]


def seen(job: Job) -> dict:
    return json.loads((job.folder / "seen.json").read_text())


def test_a_failure_names_the_arm_and_its_log_and_the_others_go_on(tmp_path, command, capsys):
    jobs = [job(tmp_path, "broken"), job(tmp_path, "full"), job(tmp_path, "full", 1)]
    failed = run_jobs(jobs, 2, 2, command)
    assert [one.job.arm for one in failed] == ["broken"]
    assert failed[0].line == (
        f"broken seed 0 failed (status 2): error: the recipe is wrong; see {tmp_path / 'broken' / 'seed-0' / 'log.txt'}"
    )
    told = capsys.readouterr().err
    assert failed[0].line in told
    assert "3/3 done" in told
    (a, b), (c, d), (e, f) = (seen(one)["times"] for one in jobs)
    assert c < b, "two at once"
    assert a < b
    assert e >= min(b, d) - 0.05, "never three at once"
    assert f > e
    assert {seen(one)["threads"] for one in jobs} == {str(threads_each(2))}
    assert {seen(jobs[0])["gpu"], seen(jobs[1])["gpu"]} == {"0", "1"}


def test_cores_are_counted_where_there_is_no_affinity(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert threads_each(2) == 4


def test_stopping_ends_the_childrens_input_and_waits(tmp_path, command, monkeypatch):
    endless = job(tmp_path, "endless")

    def interrupted(seconds: float) -> None:
        if (endless.folder / "seen.json").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(pool, "time", SimpleNamespace(sleep=interrupted))
    with pytest.raises(KeyboardInterrupt):
        run_jobs([endless], 1, 0, command)
    assert (endless.folder / "stopped").exists()


def test_a_number_of_threads_that_was_given_holds(tmp_path, command, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    one = job(tmp_path, "full")
    assert run_jobs([one], 2, 0, command) == []
    assert seen(one) | {"times": 0} == {"threads": "7", "gpu": None, "times": 0}
