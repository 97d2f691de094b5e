"""Pools of processes that leave Ctrl-C to the process that started them and end with it, however that ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def process_pool(workers: int, start: Callable[..., None] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """Processes, each of which calls `start(*arguments)` first.

    They start afresh: a fork of a process whose threads hold locks may hang. What all need is imported once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medim.data.tokens.read_ahead"])
    return ProcessPoolExecutor(workers, context, _begin, (start, arguments))


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """A worker that waits for its next task does not see that nobody will send one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
