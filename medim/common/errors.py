"""Mistakes that a user can mend, on one line each."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")  # colours, titles and the like
_LONGEST = 300


class UserError(Exception):
    """Bad input: one line names the file, line, field or key, and what to do. Commands print it without a traceback."""


class ForeignError(UserError):
    """Code that is not ours failed: a plug-in, an optional package, a model of somebody else's."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error for a name that does not exist, with the nearest name that does.

    >>> str(unknown("preset", "phantom-tinny", ["phantom-tiny", "smollm2"]))
    "unknown preset 'phantom-tinny'; did you mean 'phantom-tiny'? (known: phantom-tiny, smollm2)"
    """
    known = sorted(known)
    folded = {word.lower(): word for word in known}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean '{folded[close[0]]}'?" if close else ";"
    return UserError(f"unknown {kind} '{name}'{hint} (known: {', '.join(known)})")


def plain(text: str) -> str:
    """Text on one line: without escape sequences and other control characters, each run of spaces one space.

    >>> plain("\x1b[31mred\x1b[0m\\n  text")
    'red text'
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in _ESCAPES.sub("", text)).split())


def one_line(error: BaseException) -> str:
    """An error on one line: a UserError's message, any other by its type and first line (two if it ends in a colon)."""
    if isinstance(error, UserError):
        return plain(str(error))
    lines = [line for line in map(plain, str(error).splitlines()) if line]
    message = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    name = type(error).__name__
    return (f"{name}: {message}" if message else name)[:_LONGEST]


@contextmanager
def named(what: str) -> Iterator[None]:
    """Within it, a UserError begins with what it is about, such as the file."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{what}: {error}") from error


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Around a plug-in or an optional package: whatever it raises becomes a ForeignError of one line; a UserError passes."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # an exit, too, is not for a plug-in to decide
        raise ForeignError(f"{what}: {one_line(error)}") from error
