"""SIGKILL at random times, and the same command again, until it ends: it must then equal an unkilled one."""

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from medim.common.files import is_temporary
from tests.campaigns.chaos.snapshot import differences, snapshot
from tests.campaigns.chaos.world import REPOSITORY, SECONDS, Command, World

BUSY = "being worked on by another process"
CACHE, SCRATCH = "cache", "tmp"


@dataclass
class Row:
    """What the table says of a command."""

    name: str
    kills: int = 0
    equal: int = 0
    unequal: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    skipped: str | None = None

    def settle(self, faults: list[str]) -> None:
        """Counts one end of the command."""
        self.equal += not faults
        self.unequal += bool(faults)
        self.faults += faults


def unkilled(world: World, command: Command) -> float:
    """Runs a command to its end and keeps what it wrote in `whole/`; returns the seconds from its first file to its end.

    What an earlier campaign in this world kept is taken.
    """
    noted = world.root / "whole" / f"{command.out}.seconds"
    if noted.exists():
        return float(noted.read_text())
    process = world.start(*command.arguments, log=world.root / "log")
    _wait_for_work(world, command, process, {})
    begun = time.monotonic()
    process.wait(SECONDS)
    seconds = time.monotonic() - begun
    if process.returncode:
        raise RuntimeError(f"{command.name}, unkilled, ended with {process.returncode}: {(world.root / 'log').read_text()}")
    for name in (command.out, CACHE):
        kept = world.root / "whole" / name if name == command.out else world.root / "whole" / f"{command.out}.{CACHE}" / CACHE
        if (world.root / name).exists():
            kept.parent.mkdir(exist_ok=True)
            (world.root / name).rename(kept)
    noted.write_text(str(seconds))
    return seconds


def kill_and_continue(world: World, command: Command, span: float, kills: int, rng: random.Random, until: float) -> Row:
    """Kills the command so many times, in rounds that each begin with an empty folder and end when it does.

    Args:
        span: seconds of work of an unkilled one.
        until: the time (`time.monotonic`) after which no further round begins.
    """
    row, begun = Row(command.name), time.monotonic()
    while row.kills < kills and time.monotonic() < until:
        row.kills += _round(world, command, span, kills - row.kills, rng, row)
    if row.kills < kills:
        row.faults.append(f"only {row.kills} of {kills} kills in the time that there was")
    row.seconds = time.monotonic() - begun
    return row


def _round(world: World, command: Command, span: float, most: int, rng: random.Random, row: Row) -> int:
    kills = 0
    while True:
        before = _state(world, command)
        process = world.start(*command.arguments, log=world.root / "log")
        _wait_for_work(world, command, process, before)
        try:
            process.wait(rng.uniform(0, span) if kills < most else SECONDS)
        except subprocess.TimeoutExpired:
            if kills == most:
                row.faults.append(f"hung: not done in {SECONDS} s")
            alone = rng.random() < 0.5  # the workers of a process that is killed alone must end by themselves
            (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        log = (world.root / "log").read_text(errors="replace")
        if process.returncode == 0:
            break
        if BUSY in log and _left_behind(world):  # a worker that has not noticed yet: its lock is not stuck
            time.sleep(1)
            continue
        row.settle([f"after {kills} kills status {process.returncode}: {log.splitlines()[-1:]}"])
        clear(world, command)
        return kills
    row.settle([f"after {kills} kills: {fault}" for fault in leftovers(world, command, kills)])
    clear(world, command)
    return kills


def twice_at_once(world: World, command: Command) -> Row:
    """Two of the same command: both end well or one is refused in a line, and the folder is that of one."""
    row, begun = Row(f"  two at once: {command.name}"), time.monotonic()
    both = [world.start(*command.arguments) for _ in range(2)]
    told = [process.communicate(timeout=SECONDS)[1] for process in both]
    faults = []
    for process, errors in zip(both, told, strict=True):
        refused = BUSY in errors.splitlines()[-1] if errors.strip() else False
        if process.returncode and not (refused and "Traceback" not in errors):
            faults.append(f"status {process.returncode}: {errors[-300:]}")
    if all(process.returncode for process in both):
        faults.append("neither ended well")
    row.settle(faults + leftovers(world, command))
    clear(world, command)
    row.seconds = time.monotonic() - begun
    return row


def ten_adds_at_once(world: World) -> Row:
    """Ten runs added to one store together must be as ten added one after the other."""
    row, begun = Row("ten leaderboard adds at once"), time.monotonic()
    runs = sorted(path.parent for path in (REPOSITORY / "leaderboard/results").rglob("records.jsonl"))[:10]
    for run in runs:
        done = world.call("leaderboard", "add", str(run), "--to", "whole/ten")
        if done.returncode:
            row.faults.append(f"{run.name}, alone: status {done.returncode}: {done.stderr[-200:]}")
    together = [world.start("leaderboard", "add", str(run), "--to", "ten") for run in runs]
    for run, process in zip(runs, together, strict=True):
        errors = process.communicate(timeout=SECONDS)[1]
        if process.returncode:
            row.faults.append(f"{run.name}: status {process.returncode}: {errors[-200:]}")
    row.settle(differences(snapshot(world.root / "whole/ten"), snapshot(world.root / "ten")))
    row.seconds = time.monotonic() - begun
    return row


def leftovers(world: World, command: Command, kills: int = 0) -> list[str]:
    """Where what a command wrote differs from what the unkilled one did; processes and temporary files that stayed.

    What Python itself keeps in the system's temporary folder, such as the sockets of workers, no killed process can remove.
    """
    if processes := _left_behind(world, patience=30):
        return [f"processes left behind: {processes}"]
    whole = snapshot(world.root / "whole" / command.out, world.root / "whole" / f"{command.out}.{CACHE}" / CACHE)
    found = snapshot(world.root / command.out, world.root / CACHE)
    for name in [name for name in found if name.startswith(f"{CACHE}/") and is_temporary(Path(name).name)]:
        del found[name]  # of a kill: the cache, which runs share, is swept of it after an hour
    lines = differences(whole, found)
    scratch = [
        path.name for path in (world.root / SCRATCH).iterdir() if not path.name.startswith("torchinductor_") and not kills
    ]
    return lines + [f"left over: tmp/{name}" for name in scratch]


def clear(world: World, command: Command) -> None:
    for name in (command.out, CACHE, SCRATCH):
        shutil.rmtree(world.root / name, ignore_errors=True)
    (world.root / SCRATCH).mkdir()


def _wait_for_work(world: World, command: Command, process: subprocess.Popen[str], before: dict[Path, int]) -> None:
    """Until the command has written something, or ended: what precedes is Python importing modules."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and _state(world, command) == before and time.monotonic() < deadline:
        time.sleep(0.02)


def _state(world: World, command: Command) -> dict[Path, int]:
    """When each of the first files in the folder was written."""
    paths = [world.root / command.out, *(world.root / command.out).glob("*"), *(world.root / command.out).glob("*/*")]
    state = {}
    for path in paths:
        try:
            state[path] = path.lstat().st_mtime_ns
        except FileNotFoundError:
            continue
    return state


def _left_behind(world: World, patience: float = 0) -> list[str]:
    """Processes that still work in this world, after some patience."""
    deadline = time.monotonic() + patience
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "cwd").readlink() == world.root:
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
            except OSError:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
