"""Keeping two processes out of one folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medim.errors import UserError

LOCK = ".lock"


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Holds a folder's lock; the kernel ends it with the process, however that ends.

    Raises:
        UserError: another process holds it, and `wait` is False.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(f"'{folder}' is being worked on by another process; wait for it") from None
        yield
