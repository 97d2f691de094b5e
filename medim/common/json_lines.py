"""Files with one JSON value a line, as other programs leave them."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medim.common.declared import DEEPEST, TOO_DEEP, deeper
from medim.common.errors import UserError
from medim.common.files import BOM, once

HALF = "a text holds half of a surrogate pair"


def numbered_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by their numbers from 1, without the file's byte order mark.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    # By line feeds on bytes: str.splitlines would also cut at U+2028, which reports contain.
    for number, line in enumerate(content.removeprefix(BOM).split(b"\n"), start=1):
        if line.strip():
            yield number, line


_NO_NUMBER = re.compile(rb"NaN|Infinity|[eE]\+?\d{3}")  # or within a text: then it is looked at


def parse_line(line: bytes, finite: bool = True) -> Any:
    """The value of a line.

    Raises:
        UserError: it is not UTF-8, no JSON, a field stands twice, it is nested more than `DEEPEST` deep, a text in it holds
            half of a surrogate pair, which no file can hold, or a number is NaN or infinite, which JSON does not have
            (`finite` false lets it pass).
    """
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=once)
        if line.count(b"[") + line.count(b"{") > DEEPEST and deeper(value):
            raise RecursionError
        if b"\\ud" in line or b"\\uD" in line:
            json.dumps(value, ensure_ascii=False).encode()  # refuses half of a surrogate pair
        if finite and _NO_NUMBER.search(line) and (place := not_finite(value)) is not None:
            raise UserError(f"{place}, which JSON does not have: leave the field out, or write null")
    except json.JSONDecodeError as error:
        macintosh = "; lines end in CR alone: end them with LF" if b"\r" in line.rstrip() else ""
        raise UserError(f"broken JSON: {error.msg} (column {error.colno}){macintosh}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: byte {error.start + 1} of the line") from None
    except UnicodeEncodeError:
        raise UserError(HALF) from None
    except RecursionError:
        raise UserError(TOO_DEEP) from None
    except ValueError as error:
        raise UserError(f"broken JSON: {error}") from None
    return value


def not_finite(value: Any, name: str = "") -> str | None:
    """Where a value holds NaN or infinity, in words (`field 'a.b' is NaN`); None where it does not."""
    if isinstance(value, float) and not math.isfinite(value):
        word = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return f"field '{name}' is {word}" if name else f"the value is {word}"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((place for key, item in items if (place := not_finite(item, f"{name}.{key}" if name else f"{key}"))), None)
