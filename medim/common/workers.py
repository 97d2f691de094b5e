"""Pools of processes that leave Ctrl-C to the process that started them and end with it, however that ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

_bound: Callable[[Any], Any] | None = None
Item = TypeVar("Item")
Result = TypeVar("Result")


def process_pool(workers: int, start: Callable[..., None] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """Processes, each of which calls `start(*arguments)` first.
    They are no forks of this process, whose threads may hold locks, but of a server that has imported what all need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medim.data.tokens.read_ahead"])
    return ProcessPoolExecutor(workers, context, _begin, (start, arguments))


def as_done(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Items with their results, in the order in which these come; no more than `ahead` are submitted at once."""
    waiting: dict[Future[Result], Item] = {}
    for item in items:
        waiting[pool.submit(function, item)] = item
        if len(waiting) >= ahead:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    for future, item in waiting.items():
        yield item, future.result()


def bind(function: Callable[[Any], Any]) -> None:
    """As `start` of a pool: what `call_bound` calls there, so that a function with much data travels to a worker once."""
    global _bound
    _bound = function


def call_bound(item: Any) -> Any:
    """What the bound function makes of an item."""
    assert _bound is not None
    return _bound(item)


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
