"""What a reader may not do with a file, however odd: write, connect, start a process, print, take long or much memory."""

import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medim.common.errors import plain

SECONDS, MEGABYTES, ADDRESSES = 10, 1024, 6 << 30
LONGEST = 2000
"""Characters of a message, which is a line of a terminal or some."""
_FORBIDDEN = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "os.exec",
    "socket.connect",
    "subprocess.Popen",
    "os.system",
    "os.fork",
    "os.posix_spawn",
    "pickle.find_class",
)
_seen: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if str(arguments[0]) != os.devnull:
            _seen.append(f"opened for writing: {arguments[0]}")
    elif event in _FORBIDDEN:
        _seen.append(f"{event} {str(arguments)[:80]}")


def prepare() -> None:
    """Once in a process, before the first `watched`."""
    sys.dont_write_bytecode = True
    sys.addaudithook(_audit)
    warnings.simplefilter("always")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESSES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def watched(read: Callable[[], Any], refusals: tuple[type[Exception], ...]) -> tuple[Any, str | None, list[str]]:
    """What `read` gave, or how it refused in words, and the faults on the way."""
    global _seen
    result, refusal, faults = None, None, []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _captured() as printed, _limited():
        _seen = []
        try:
            result = read()
        except refusals as error:
            refusal = plain(str(error))
        except TimeoutError:
            faults.append(f"took more than {SECONDS} s")
        except BaseException as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            faults.append(f"{type(error).__name__}: {str(error)[:200]} ({frame.filename}:{frame.lineno})")
        finally:
            faults += _seen
            _seen = None
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    if grown > MEGABYTES:
        faults.append(f"took {grown} MB")
    if printed:
        faults.append(f"printed: {printed[0][:200]}")
    if refusal is not None and not 0 < len(refusal) <= LONGEST:
        faults.append(f"a message of {len(refusal)} characters: {refusal[:200]!r}")
    return result, refusal, faults


@contextmanager
def _captured() -> Iterator[list[str]]:
    """What is printed meanwhile on both streams, also by C; filled at the end."""
    printed: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield printed
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
            stream.seek(0)
            if text := stream.read().decode("utf-8", "replace").strip():
                printed.append(text)


@contextmanager
def _limited() -> Iterator[None]:
    def over(*_: Any) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
