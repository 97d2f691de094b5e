"""Tables as CSV without formulas for a spreadsheet: names of models, arms and domains come from others."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20].", re.DOTALL)  # also the signs of full width; no lone sign


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header and a line for each row, by RFC 4180 with `\\n` line ends; a missing value is an empty cell.
    Text that a spreadsheet would compute stands behind an apostrophe. Raises ValueError where a row has an unknown column."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writerow({name: _inert(name) for name in columns})
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would compute this text instead of showing it, such as `=HYPERLINK(...)`; a lone sign is none."""
    return _FORMULA.match(text) is not None


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")  # csv does not quote it, and readers take it for the end of a line
    return f"'{value}" if is_formula(value.lstrip("'")) else value
