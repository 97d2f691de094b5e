"""Keeping two processes out of one folder. The kernel ends a lock with its process, however that ends.
flock and not the filelock package: that has no shared locks by the kernel, and on file systems without flock it falls back to
files that outlive a killed process."""

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
    Many may hold it `shared`. Where the file system has no locks it warns and yields True."""
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
    """Holds a folder, after `sweep`. Raises UserError where another process holds it."""
    with locked(folder / name, wait=False) as mine:
        if not mine:
            raise UserError(f"'{folder}' is being worked on by another process; wait for it, or choose another folder")
        sweep(folder, folder / name)
        yield
