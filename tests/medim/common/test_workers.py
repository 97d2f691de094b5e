"""Worker processes of a command that is killed end with it."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from medim.common.workers import as_done, bind, call_bound, process_pool

PARENT = """
import os, time
from medim.common.workers import process_pool
if __name__ == "__main__":
    pool = process_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def test_a_waiting_worker_ends_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 20
    while is_running(worker):
        assert time.monotonic() < deadline, "the worker waits for a parent that is gone"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # not yet waited for by whoever inherited it


def test_items_come_with_their_results_in_any_order():
    with process_pool(2) as pool:
        assert dict(as_done(pool, abs, range(-5, 0), ahead=2)) == {number: -number for number in range(-5, 0)}


def test_a_bound_function_is_called_in_the_worker():
    with process_pool(1, bind, partial(pow, 2)) as pool:
        assert list(pool.map(call_bound, [3, 4])) == [8, 16]
