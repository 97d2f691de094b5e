"""Keeping two processes out of one folder. The kernel ends a lock with its process, however that ends."""

import errno
import fcntl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medim.common.errors import UserError
from medim.common.files import sweep

LOCK = ".lock"
_WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # some clusters' file systems


@contextmanager
def locked(path: Path, wait: bool = True, shared: bool = False) -> Iterator[bool]:
    """Holds the lock file `path`; yields False, at once, where another process has it and `wait` is not set.

    Many may hold it at once where all of them hold it `shared`.

    Where the file system has no locks it warns and yields True: two processes in one folder are then the user's care.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            warnings.warn(f"'{path.parent}': no file locks here: let no second process work in it", stacklevel=3)
        yield True


@contextmanager
def held(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Holds a folder, from which what killed processes left of their writing is removed first.

    Raises:
        UserError: another process holds it.
    """
    with locked(folder / name, wait=False) as mine:
        if not mine:
            raise UserError(f"'{folder}' is being worked on by another process; wait for it, or choose another folder")
        sweep(folder, folder / name)
        yield
