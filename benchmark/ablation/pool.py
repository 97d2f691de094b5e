"""Several jobs at once, each in a separate process with its share of the machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from benchmark import DONE, WITH_FAILURES
from benchmark.ablation.plan import Job

LOG = "log.txt"
COMMAND = (sys.executable, "-m", "benchmark.ablation.one_training")
POLL_SECONDS = 0.5
STOP_SECONDS = 600  # a checkpoint of a large model takes its time


@dataclass(frozen=True)
class Failed:
    """A job that ended badly; `error` is the last line of its log."""

    job: Job
    status: int
    error: str

    @property
    def line(self) -> str:
        return f"{self.job.name} failed (status {self.status}): {self.error}; see {self.job.folder / LOG}"


@dataclass(frozen=True)
class _Running:
    job: Job
    process: subprocess.Popen[str]
    log: IO[str]


def run_jobs(jobs: Sequence[Job], at_once: int, gpus: int, command: Sequence[str] = COMMAND) -> list[Failed]:
    """Does all jobs, `at_once` at a time, in order; a job that fails does not stop the others.
    Each process has cores / `at_once` threads (unless OMP_NUM_THREADS says another number) and, where there are GPUs, one of
    them. What it prints goes to `log.txt` in its folder, after what an earlier sitting left there.
    `gpus`: how many there are; 0 for none.
    `command`: of one process, which reads its job from the standard input.
    Raises KeyboardInterrupt: Ctrl-C, once all processes have saved and ended."""
    waiting, running, failed = list(jobs), dict[int, _Running](), list[Failed]()
    ended = 0
    steps = {job.folder: job.recipe().max_steps for job in jobs}
    bar = tqdm(total=sum(steps.values()), desc="steps", unit="step", disable=not jobs, file=sys.stderr)
    try:
        while waiting or running:
            for slot in range(at_once):
                if waiting and slot not in running:
                    running[slot] = _start(waiting.pop(0), slot, at_once, gpus, command)
            time.sleep(POLL_SECONDS)
            for slot, one in list(running.items()):
                status = one.process.poll()
                if status is None:
                    continue
                del running[slot]
                one.log.close()
                ended += 1
                if status in (DONE, WITH_FAILURES):
                    note = "" if status == DONE else " (some samples could not be generated)"
                    bar.write(f"{one.job.name}: {ended}/{len(jobs)} done{note}", file=sys.stderr)
                if status != DONE:
                    failed.append(Failed(one.job, status, _last_line(one.job.folder / LOG)))
                if status not in (DONE, WITH_FAILURES):
                    bar.write(failed[-1].line, file=sys.stderr)
            left = {job.folder for job in [*waiting, *(one.job for one in running.values())]}
            reached = sum(_step_of(folder) if folder in left else count for folder, count in steps.items())
            bar.update(max(0, reached - bar.n))
    finally:
        bar.close()
        _stop(list(running.values()))
    return failed


def threads_each(at_once: int) -> int:
    """Cores of this process, shared out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has none
    return max(1, cores // at_once)


def _start(job: Job, slot: int, at_once: int, gpus: int, command: Sequence[str]) -> _Running:
    job.folder.mkdir(parents=True, exist_ok=True)
    environment = {"OMP_NUM_THREADS": str(threads_each(at_once)), **os.environ, "PYTHONUNBUFFERED": "1"}
    if gpus:
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        environment["CUDA_VISIBLE_DEVICES"] = visible[slot % gpus] if len(visible) == gpus else str(slot % gpus)
    log = (job.folder / LOG).open("a", encoding="utf-8")
    # A session apart: Ctrl-C reaches this process alone, which then ends their input.
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": log, "stderr": log, "text": True}
    process = subprocess.Popen(list(command), env=environment, start_new_session=True, **streams)
    assert process.stdin is not None
    try:
        process.stdin.write(job.to_json() + "\n")
        process.stdin.flush()
    except BrokenPipeError:  # it ended at once: its status and log say why
        pass
    return _Running(job, process, log)


def _stop(running: Sequence[_Running]) -> None:
    """Ends the input of all, on which they save and end, and waits for them."""
    for one in running:
        assert one.process.stdin is not None
        one.process.stdin.close()
    for one in running:
        try:
            one.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            one.process.kill()
        one.log.close()


def _step_of(folder: Path) -> int:
    """The last step that a training logged."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return 0
    whole = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return int(json.loads(whole[-1])["step"]) if whole else 0


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
