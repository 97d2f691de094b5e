"""Tables of text (CSV, TSV) as spreadsheets and programs leave them: every cell is the text that stands there."""

import codecs
import csv
import difflib
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from medim.common.errors import UserError
from medim.common.files import HEAD, stand_in
from medim.data.archives.archive import Loss

SAVE = "save the file as UTF-8"
_SEPARATORS = ",;\t|"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of bytes that are no UTF-8


@dataclass(frozen=True)
class Row:
    """A row: the number of the line that it begins on, and its cells by column, as they are written."""

    line: int
    cells: dict[str, str]


def read_header(path: Path, needed: Sequence[str] = ()) -> list[str]:
    """The columns of a table. Raises UserError: as `read_table`."""
    return [name for name in _dialect(path, needed)[1] if name]


def read_table(path: Path, needed: Sequence[str]) -> Iterator[Row | Loss]:
    """The rows of a table with a header, in the file's order; blank ones are passed over.

    Commas, semicolons, tabs or bars separate (those by which the columns `needed` are found; an Excel line `sep=;` says it);
    lines end in LF, CRLF or CR; UTF-8 with or without its mark, or UTF-16 with it; gzipped or not. A row with cells too many
    or too few, an open quote, or bytes that are no UTF-8, is a loss.

    Raises UserError: the file cannot be read, is no table of text, or lacks a column or has it twice.
    """
    separator, header = _dialect(path, needed)
    require_columns(path, header, needed)
    if twice := next((name for name in needed if header.count(name) > 1), None):
        raise UserError(f"{path}: two columns are called '{twice}'")
    line = 0
    try:
        with _opened(path) as stream:
            reader = csv.reader(stream, delimiter=separator, strict=True)
            has_header = False  # whether it is behind
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    lines = reader.line_num - line
                    cost = f"; {lines} more lines are lost with it" if lines > 0 else ""
                    yield Loss(f"{path.name}:{line}", f"broken CSV: {error} (a quote that is not closed, or not doubled){cost}")
                    continue
                if [cell.strip() for cell in cells] == header:
                    if has_header:
                        yield Loss(f"{path.name}:{line}", "the header stands here again")
                    has_header = True
                elif has_header and any(cell.strip() for cell in cells):
                    yield _row(path, line, header, cells)
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise UserError(f"{path}: cannot be read beyond line {max(line - 1, 0)}: {error}") from error


def decoded(data: bytes, place: str = "") -> str:
    """A text file's content: UTF-8, or UTF-16 where the file says so.
    Raises UserError: it is neither; `place` begins the line."""
    try:
        return data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        raise UserError(f"{place}not UTF-8: byte {error.start + 1}; {SAVE}") from None


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> Row | Loss:
    place = f"{path.name}:{line}"
    if len(cells) > len(header) and not any(cell.strip() for cell in cells[len(header) :]):
        cells = cells[: len(header)]
    if len(cells) != len(header):
        if len(cells) < len(header):
            return Loss(place, f"the row ends before column '{header[len(cells)]}'; is the file cut?")
        count = f"the row has more cells than there are columns ({len(cells)}, {len(header)})"
        return Loss(place, f"{count}: a text with the separator in it needs quotes")
    for name, cell in zip(header, cells, strict=True):
        if odd := _NOT_UTF8.search(cell):
            return Loss(place, f"column '{name}' is not UTF-8 (byte 0x{ord(odd[0]) - 0xDC00:X}); {SAVE}")
    return Row(line, {name: cell for name, cell in zip(header, cells, strict=True) if name})


def _dialect(path: Path, needed: Sequence[str]) -> tuple[str, list[str]]:
    """The separator and the header, stripped."""
    found: list[tuple[str, list[str]]] = []
    try:
        with _opened(path) as stream:
            first = stream.readline()
        for separator in _SEPARATORS:
            with _opened(path) as stream:
                if stated := re.fullmatch(r'"?sep=(.)"?\s*', first):
                    separator = stated[1]
                    stream.readline()
                header = next((row for row in csv.reader(stream, delimiter=separator) if any(map(str.strip, row))), [])
            found.append((separator, [name.strip() for name in header]))
    except (OSError, EOFError, zlib.error, UnicodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read beyond line 0: {getattr(error, 'strerror', None) or error}") from None
    best = max(found, key=lambda one: (all(name in one[1] for name in needed), len(one[1])))
    for name in best[1]:
        if "\0" in name or _NOT_UTF8.search(name):
            raise UserError(f"{path}: the header is no text in UTF-8 ({name[:20]!a}); {SAVE} and CSV")
    return best


def _encoding(head: bytes) -> str:
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _opened(path: Path) -> TextIO:
    binary = gzip.open if path.suffix == ".gz" else open
    with binary(path, "rb") as stream:
        head = stream.read(HEAD)
    if what := stand_in(head):
        raise UserError(f"{path} {what}")
    encoding = _encoding(head)
    errors = "strict" if encoding == "utf-16" else "surrogateescape"
    return binary(path, "rt", encoding=encoding, errors=errors, newline="")  # type: ignore[return-value]


def require_columns(place: str | Path, found: Iterable[str], needed: Iterable[str]) -> None:
    """Says which column a table lacks.
    Raises UserError: the line names the table, the column and the columns that are there, the nearest one first."""
    found = [name for name in found if name and not re.fullmatch(r"__\w+__", name)]  # pandas' index in a parquet file
    for column in needed:
        if column not in found:
            order = sorted(found, key=lambda name: -difflib.SequenceMatcher(None, name.lower(), column.lower()).ratio())
            there = ", ".join(dict.fromkeys(order))
            raise UserError(f"{place}: column '{column}' is missing; the columns are: {there or 'none'}")
