"""Entries of large JSON files, one at a time: a list, an object of lists, or one object a line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medim.data.archives.archive import Loss
from medim.data.json_lines import BOM, parse_line
from medim.errors import UserError


@dataclass(frozen=True)
class Entry:
    """One element of a list.

    Attributes:
        key: under which of the object's keys the list stands; None where the file is one list.
        number: position in its list from 1; in a file of lines the line's number.
        value: the element.
    """

    key: str | None
    number: int
    value: Any

    def name(self, file: Path) -> str:
        """How messages call it."""
        return f"{file.name}{f', {self.key!r}' if self.key is not None else ''}, entry {self.number}"


def read_entries(file: Path) -> Iterator[Entry | Loss]:
    """The elements of `[...]`, of `{"key": [...], ...}`, or the lines of a `.jsonl` file, in the file's order.

    Memory holds one element. A broken line of a `.jsonl` file is a `Loss`; of another file nothing after a mistake can be
    read.

    Raises:
        UserError: the file cannot be opened, is no such JSON, or breaks off; the line tells after which entry.
    """
    try:
        stream = file.open("rb")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    with stream:
        yield from _lines(file, stream) if file.suffix == ".jsonl" else _elements(file, stream)


def find_json(root: Path, given: str, patterns: tuple[str, ...], option: str) -> Path:
    """The archive's JSON file: `root` itself where it is a file, the one `given`, or the only one in `root` by pattern.

    Raises:
        UserError: there is none, or there are several; the line names them and the option.
    """
    if root.is_file():
        return root
    if given:
        file = root / given
        if not file.is_file():
            raise UserError(f"'{file}' does not exist (option {option})")
        return file
    found = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})
    if len(found) != 1:
        names = ", ".join(path.name for path in found)
        what = f"holds several of {' and '.join(patterns)} ({names})" if found else f"holds no {' or '.join(patterns)}"
        raise UserError(f"'{root}' {what}: name the file with {option}=...")
    return found[0]


def _lines(file: Path, stream: Any) -> Iterator[Entry | Loss]:
    for number, line in enumerate(stream, start=1):  # cut at line feeds only: texts may contain U+2028
        text = line.removeprefix(BOM) if number == 1 else line
        if not text.strip():
            continue
        try:
            yield Entry(None, number, parse_line(text))
        except UserError as error:
            yield Loss(f"{file.name}:{number}", str(error))


def _elements(file: Path, stream: Any) -> Iterator[Entry]:
    try:
        import ijson
    except ImportError:
        raise UserError("reading JSON archives needs the extra 'archives': pip install 'medim-bench[archives]'") from None

    if stream.read(3) != BOM:
        stream.seek(0)
    key: str | None = None
    number = depth = 0
    floor: int | None = None  # depth inside the list whose elements are wanted
    builder = ijson.ObjectBuilder()
    try:
        for event, value in ijson.basic_parse(stream, use_float=True):
            opens, closes = event in ("start_map", "start_array"), event in ("end_map", "end_array")
            if floor is None:
                if closes:  # the end of the file's object
                    continue
                if depth == 1 and event == "map_key":
                    key, number = value, 0
                elif event == "start_array":
                    depth += 1
                    floor = depth
                elif event == "start_map" and depth == 0:
                    depth = 1
                else:
                    what = f"'{key}' holds no list" if key is not None else "a list or an object of lists is needed"
                    raise UserError(f"{file}: {what}")
                continue
            if depth == floor and closes:
                depth -= 1
                floor = None
                continue
            if depth == floor:
                builder = ijson.ObjectBuilder()
            builder.event(event, value)
            depth += opens - closes
            if depth == floor:
                number += 1
                yield Entry(key, number, builder.value)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        last = f" after entry {number}{f' of {key!r}' if key is not None else ''}" if number else ""
        reason = str(error).strip().split("\n")[0] or "it breaks off"
        raise UserError(f"{file}: broken JSON{last}: {reason}") from None
