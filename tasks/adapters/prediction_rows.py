"""The rows of a file of predictions, whatever keeps them: JSON lines, JSON, CSV and TSV, Parquet, or a report a line."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medim.common.errors import UserError, named
from medim.common.files import HEAD, stand_in
from medim.common.json_lines import BOM, numbered_lines, parse_json
from medim.data.archives.archive import Loss
from medim.data.archives.tables import decoded, read_header, read_table
from tasks.adapters.prediction_forms import FORMS

PARQUET = b"PAR1"
BROKEN_ROW = "a prediction is a JSON object such as {'id', 'image', 'report'}"


def read_rows(file: Path, listed: bool = False) -> Iterator[tuple[str, dict[str, Any] | UserError]]:
    """The rows of a file, recognised by its content; a name that ends in `.jsonl` says JSON lines. Of each: how an error names
    its place (`FILE:LINE`, or the file and the number of an entry), and its fields, or a mistake where it has none.

    An object without rows in it is read as one keyed by id. `listed`: a text that is no JSON has a report a line, without a
    header; as CSV, where the file's name says so, a report may have several lines.

    Raises UserError: the file cannot be read, or is nothing of these."""
    for place, content in _contents(file, listed):
        yield f"{file}{place}", content if isinstance(content, dict | UserError) else UserError(BROKEN_ROW)


def _contents(file: Path, listed: bool) -> Iterator[tuple[str, Any]]:
    try:
        data = file.read_bytes().removeprefix(BOM)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    if data and (what := stand_in(data[:HEAD])):
        raise UserError(f"{file} {what}")
    first = data.lstrip()[:1]
    if data.startswith(PARQUET):
        return _of_parquet(file)
    if file.suffix == ".jsonl" or (first == b"{" and _has_lines(file)):
        return _of_lines(file)
    if first in (b"{", b"["):
        with named(str(file)):
            return _of_json(parse_json(data))
    return _of_texts(file, decoded(data, f"{file}: ")) if listed else _of_table(file)


def _has_lines(file: Path) -> bool:
    """Whether each of the first two lines is an object, or the only one is a row: no object of rows by their ids."""
    try:
        rows = [parse_json(line) for _, (_, line) in zip(range(2), numbered_lines(file), strict=False)]
    except UserError:
        return False
    names = {name for form in FORMS for name in (form.id, form.ordinal)}
    return all(isinstance(row, dict) for row in rows) and (len(rows) > 1 or not names.isdisjoint(rows[0]))


def _of_lines(file: Path) -> Iterator[tuple[str, Any]]:
    for number, line in numbered_lines(file):
        try:
            content = parse_json(line)
        except UserError as error:
            content = error
        yield f":{number}", content


def _of_json(value: Any) -> Iterator[tuple[str, Any]]:
    """Of a list; of lists by name, such as the splits of an annotation.json; of texts, lists of texts or objects by id."""
    if isinstance(value, list):
        yield from _of_list(value)
        return
    lists = any(isinstance(one, Mapping) for item in value.values() if isinstance(item, list) for one in item)
    for key, item in value.items():
        if lists and isinstance(item, list):
            yield from _of_list(item, f"{key!r}, ")
        elif isinstance(item, Mapping) and str(other := item.get("id", key)) != key:
            yield f": '{key}'", UserError(f"stands under another id, '{other}', too")
        else:
            yield f": '{key}'", {**(item if isinstance(item, Mapping) else {"report": item}), "id": key}


def _of_list(items: list[Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(items, start=1):
        yield f": {within}entry {number}", {"report": item} if isinstance(item, str) else item


def _of_parquet(file: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        if twice := _twice(table.schema_arrow.names):
            raise UserError(f"{file}: two columns are called '{twice}'")
        rows = (row for batch in table.iter_batches() for row in batch.to_pylist())
        yield from ((f": row {number}", row) for number, row in enumerate(rows, start=1))
    except (pa.ArrowException, OSError, ValueError) as error:  # the last: a text that is no UTF-8
        raise UserError(f"{file}: cannot be read as Parquet: {' '.join(str(error).split())}") from error


def _of_table(file: Path) -> Iterator[tuple[str, Any]]:
    for row in read_table(file, read_header(file)):
        if isinstance(row, Loss):
            yield f":{row.item.rpartition(':')[2]}", UserError(row.reason)
        else:
            yield f":{row.line}", row.cells


def _of_texts(file: Path, text: str) -> Iterator[tuple[str, Any]]:
    if file.suffix not in (".csv", ".tsv"):
        for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
            yield f":{number}", {"report": line.removesuffix("\r")}
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if file.suffix == ".tsv" else ",")
    for cells in reader:
        wide = UserError(f"{len(cells)} cells, and one report a row is needed") if len(cells) > 1 else None
        yield f":{reader.line_num}", wide or {"report": "".join(cells)}


def read_ids(file: Path) -> list[str]:
    """The ids of a file that `data ids --out` wrote, or of one with an id a line.
    Raises UserError: it cannot be read, is empty, or names one twice."""
    head = file.read_bytes()[:HEAD].removeprefix(BOM).lstrip() if file.is_file() else b"{"
    table = head[:1] == b"{" or (head[:1] != b"[" and "id" in read_header(file))
    found = []
    for where, content in read_rows(file, listed=not table):
        value = content if isinstance(content, UserError) else content.get("id" if table else "report")
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{where}: {value if isinstance(value, UserError) else 'no id stands here'}")
        found.append(value)
    if twice := _twice(found):
        raise UserError(f"{file}: '{twice}' stands twice")
    return found


def _twice(names: list[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)
