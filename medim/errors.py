"""Mistakes that a user can mend, told in one line."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message names the file, line, field or key, and what to do. Commands print it without a traceback."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error for a name that does not exist, with the nearest name that does.

    >>> str(unknown("preset", "phantom-tinny", ["phantom-tiny", "smollm2"]))
    "unknown preset 'phantom-tinny'; did you mean 'phantom-tiny'? (known: phantom-tiny, smollm2)"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    return UserError(f"unknown {kind} '{name}'{hint} (known: {', '.join(known)})")
