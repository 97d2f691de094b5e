"""Files that are either whole or absent."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leaderboard.errors import LeaderboardError

DEEPEST = 100
"""Lists and objects inside each other that a JSON text may have."""
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20].", re.DOTALL)  # also the signs of full width
_PLAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._+=@()-]{0,118}[A-Za-z0-9)])?")


def file_name(name: str) -> str:
    """`name` where it is a harmless file name, else a hash of it: names come from others and may hold anything."""
    return name if _PLAIN.fullmatch(name) else hashlib.sha256(json.dumps(name, ensure_ascii=False).encode()).hexdigest()[:16]


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would compute this text instead of showing it, such as `=HYPERLINK(...)`; a lone sign is none."""
    return _FORMULA.match(text) is not None


def inert(text: str) -> str:
    """Text for a CSV cell: a formula behind an apostrophe, by which a spreadsheet shows it; see `bare`.

    A carriage return becomes a space: writers do not quote it, and readers take it for the end of a line.
    """
    text = text.replace("\r", " ")
    return f"'{text}" if is_formula(text.lstrip("'")) else text


def bare(text: str) -> str:
    """The inverse of `inert`, but for carriage returns."""
    return text[1:] if text.startswith("'") and is_formula(text.lstrip("'")) else text


def read_text(path: Path) -> str:
    """The file as UTF-8.

    Raises:
        LeaderboardError: it is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise LeaderboardError(f"{path}: cannot read it: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LeaderboardError(f"{path}: not UTF-8 at byte {error.start}") from error


def _once(items: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(items)
    if len(row) < len(items):
        keys = [key for key, _ in items]
        raise ValueError(f"field '{next(key for key in keys if keys.count(key) > 1)}' stands twice")
    return row


def parse_json(text: str) -> Any:
    """The value of a JSON text; Python's own limit of nesting is another in each version.

    Raises:
        ValueError: it is no JSON (`json.JSONDecodeError`), a field stands twice, or it is nested more than `DEEPEST` deep.
    """
    too_deep = f"lists and objects are nested more than {DEEPEST} deep"
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(too_deep) from None
    layer = [value] if text.count("[") + text.count("{") > DEEPEST and isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        items = (item for part in layer for item in (part.values() if isinstance(part, dict) else part))
        layer = [item for item in items if isinstance(item, dict | list)]
    if layer:
        raise ValueError(too_deep)
    return value


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it replaces `path` in one step, on failure it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)  # not mkstemp: the process's umask says who may read
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8 with its line ends as they are, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes `content`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
