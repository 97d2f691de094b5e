"""JSON as other programs write it: one value a file, or one a line."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medim.common.declared import DEEPEST, TOO_DEEP, Declared, checked, deeper
from medim.common.errors import UserError, named

BOM = b"\xef\xbb\xbf"  # byte order mark: some programs begin UTF-8 with it
HALF = "a text holds half of a surrogate pair"
_NO_NUMBER = re.compile(rb"NaN|Infinity|[eE]\+?\d{3}")  # or within a text: then it is looked at


def numbered_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by their numbers from 1, without the file's byte order mark.
    Raises UserError: the file cannot be read."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    # By line feeds on bytes: str.splitlines would also cut at U+2028, which reports contain.
    for number, line in enumerate(content.removeprefix(BOM).split(b"\n"), start=1):
        if line.strip():
            yield number, line


def parse_json(data: bytes, finite: bool = True) -> Any:
    """The value of a JSON text.
    Raises UserError: it is not UTF-8 or no JSON, a field stands twice, it is nested more than `DEEPEST` deep, a text in it
    holds half of a surrogate pair, or a number is NaN or infinite, which JSON does not have (`finite` false lets it pass)."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
        if data.count(b"[") + data.count(b"{") > DEEPEST and deeper(value):
            raise RecursionError
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(value, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    except json.JSONDecodeError as error:
        lines = b"\n" in data.strip()
        place = f"line {error.lineno}, column {error.colno}" if lines else f"column {error.colno}"
        macintosh = "; lines end in CR alone: end them with LF" if b"\r" in data.rstrip() and not lines else ""
        raise UserError(f"broken JSON: {error.msg} ({place}){macintosh}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: byte {error.start + 1}") from None
    except UnicodeEncodeError:
        raise UserError(HALF) from None
    except RecursionError:
        raise UserError(TOO_DEEP) from None
    except ValueError as error:  # a field twice; a number of thousands of digits
        raise UserError(f"broken JSON: {error}") from None
    if finite and _NO_NUMBER.search(data) and (found := not_finite(value)) is not None:
        raise UserError(f"{found}, which JSON does not have: leave the field out, or write null")
    return value


def parse_model(line: bytes, kind: type[Declared], where: str) -> Declared:
    """The object of a line as a `kind`, see `declared.checked`.
    Raises UserError: begins with `where`; see `parse_json`, or the first field that is unknown, missing or invalid."""
    with named(where):
        value = parse_json(line)
        if not isinstance(value, dict):
            raise UserError(f"an object of fields is needed, not {type(value).__name__}")
    return checked(kind, value, where)


def read_models(path: str | Path, kind: type[Declared]) -> Iterator[tuple[str, Declared]]:
    """The lines of a file as `kind`, each with its place (`FILE:LINE`). Raises UserError at the first that is none."""
    for number, line in numbered_lines(Path(path)):
        where = f"{path}:{number}"
        yield where, parse_model(line, kind, where)


def not_finite(value: Any, name: str = "") -> str | None:
    """Where a value holds NaN or infinity, in words (`field 'a.b' is NaN`); None where it does not."""
    if isinstance(value, float) and not math.isfinite(value):
        word = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return f"field '{name}' is {word}" if name else f"the value is {word}"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((place for key, item in items if (place := not_finite(item, f"{name}.{key}" if name else f"{key}"))), None)


def _once(items: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(items)
    if len(row) < len(items):
        keys = [key for key, _ in items]
        raise ValueError(f"field '{next(key for key in keys if keys.count(key) > 1)}' stands twice")
    return row
