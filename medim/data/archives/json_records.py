"""Entries of large JSON files, one at a time: a list, an object of lists, or one object a line."""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from medim.common.declared import DEEPEST, TOO_DEEP
from medim.common.errors import UserError
from medim.common.files import BOM, HEAD, stand_in
from medim.common.json_lines import HALF, parse_line
from medim.data.archives.archive import Loss
from medim.data.archives.tables import SAVE

_LINE = 1 << 20


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

    Memory holds one element. A broken line of a `.jsonl` file, an element in which a field stands twice or a text holds half
    of a surrogate pair is a `Loss`; after another mistake nothing can be read. UTF-8, or UTF-16 with its mark. NaN and
    infinity, which JSON does not have, become such numbers: `fields.report_in` and its like name them.

    Raises:
        UserError: the file cannot be opened, is no such JSON, or breaks off; the line tells after which entry.
    """
    try:
        stream = file.open("rb")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    with stream:
        plain: BinaryIO = stream
        head = stream.read(HEAD)
        if head and (what := stand_in(head)):
            raise UserError(f"{file} {what}")
        if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            plain = cast("BinaryIO", codecs.EncodedFile(stream, "utf-8", "utf-16"))
        stream.seek(len(BOM) if head.startswith(BOM) else 0)
        yield from _lines(file, plain) if file.suffix == ".jsonl" or _has_lines(plain) else _elements(file, plain)


def _has_lines(stream: BinaryIO) -> bool:
    """Whether there is an object a line, whatever the file is called: its first two lines are. The stream stays as it is."""
    start = stream.tell()
    begins = stream.read(1)
    stream.seek(start)
    lines = [stream.readline(_LINE), stream.readline(_LINE)] if begins == b"{" else []
    stream.seek(start)
    try:
        return len(lines) == 2 and all(isinstance(json.loads(line), dict) for line in lines)
    except (ValueError, RecursionError):
        return False


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


def _lines(file: Path, stream: BinaryIO) -> Iterator[Entry | Loss]:
    for number, line in enumerate(stream, start=1):  # cut at line feeds only: texts may contain U+2028
        text = line.removeprefix(BOM) if number == 1 else line
        if not text.strip():
            continue
        try:
            yield Entry(None, number, parse_line(text, finite=False))
        except UserError as error:
            yield Loss(f"{file.name}:{number}", str(error))


def _elements(file: Path, stream: BinaryIO) -> Iterator[Entry | Loss]:
    """The elements as they are; where the parser stops at something, from there on with what JSON has no word for marked."""
    start, count = stream.tell(), 0
    try:
        for entry in _parsed(file, _Watched(stream)):
            yield entry
            count += 1
    except UserError:
        stream.seek(start)
        yield from islice(_parsed(file, _Worded(stream)), count, None)


class _Watched:
    """A stream of JSON, read until a text seems to hold half of a surrogate pair, of which the parser would make a `?`."""

    _HIGH = rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])"
    _LOW = rb"(?<=.{6})(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]"
    _HALF, _LAST = re.compile(rb"%s(?=.{6})|%s" % (_HIGH, _LOW), re.DOTALL), re.compile(_HIGH, re.DOTALL)

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._tail = stream, b""

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        data = self._tail + block
        if b"\\u" in data and (self._HALF if block or not size else self._LAST).search(data):
            raise UserError(HALF)
        self._tail = data[-24:]
        return block


class _Worded:
    """A stream of JSON in which what the parser does not know is a marked text: the bare words NaN, Infinity and -Infinity,
    which Python and pandas write, and texts with half of a surrogate pair."""

    MARK = "\ue000"  # private use: what begins with it is no text of the file's
    _TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|-?\b(?:NaN|Infinity)\b|-?[A-Za-z]*\Z', re.DOTALL)

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._rest = stream, b""

    def read(self, size: int) -> bytes:
        if size == 0:
            return b""
        while True:
            block = self._stream.read(size)
            data, self._rest = self._rest + block, b""
            made = self._TOKEN.sub(self._word if block else lambda match: self._marked(match[0]), data)
            if made or not block:
                return made

    def _word(self, match: re.Match[bytes]) -> bytes:
        token = match[0]
        if match.end() == len(match.string) and not (token.startswith(b'"') and len(token) > 1 and self._closed(token)):
            self._rest = token or self._rest  # cut by the end of the block
            return b""
        return self._marked(token)

    def _closed(self, token: bytes) -> bool:
        body = token[1:-1]
        return token.endswith(b'"') and (len(body) - len(body.rstrip(b"\\"))) % 2 == 0

    def _marked(self, token: bytes) -> bytes:
        if b"\\u" in token.lower() and token.startswith(b'"'):
            try:
                json.loads(token).encode()
            except UnicodeEncodeError:
                return f'"{self.MARK}"'.encode()
            except ValueError:  # the parser says what is wrong with it
                return token
        return token if token.lstrip(b"-") not in (b"NaN", b"Infinity") else f'"{self.MARK}{token.decode()}"'.encode()


def _parsed(file: Path, stream: _Watched | _Worded) -> Iterator[Entry | Loss]:
    try:
        import ijson
    except ImportError:
        raise UserError("reading JSON archives needs the extra 'archives': pip install 'medim-bench[archives]'") from None

    key: str | None = None
    number = depth = 0
    floor: int | None = None  # depth inside the list whose elements are wanted
    builder = ijson.ObjectBuilder()
    fields: list[set[str]] = []  # of each object that is open inside an element
    mistake: str | None = None
    try:
        for event, value in ijson.basic_parse(stream):  # whole numbers of any size; use_float would limit them to 64 bits
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
                builder, mistake = ijson.ObjectBuilder(), None
            if event == "start_map":
                fields.append(set())
            elif event == "end_map":
                fields.pop()
            elif event == "map_key":
                mistake = f"field '{value}' stands twice" if value in fields[-1] else mistake
                fields[-1].add(value)
            elif event == "number" and not isinstance(value, int):
                value = float(value)
            elif event == "string" and value == _Worded.MARK:
                mistake = HALF
            elif event == "string" and value.startswith(_Worded.MARK):
                event, value = "number", float(value[1:])
            builder.event(event, value)
            depth += opens - closes
            if depth - floor > DEEPEST:
                raise UserError(f"{file}: entry {number + 1}{f' of {key!r}' if key is not None else ''}: {TOO_DEEP}")
            if depth == floor:
                number += 1
                entry = Entry(key, number, builder.value)
                yield Loss(entry.name(file), mistake) if mistake else entry
    except (ijson.JSONError, UnicodeDecodeError) as error:
        last = f" after entry {number}{f' of {key!r}' if key is not None else ''}" if number else ""
        said = error.args[0] if error.args and isinstance(error.args[0], bytes) else str(error).encode()
        reason = said.decode("utf-8", "replace").strip().split("\n")[0].rstrip(".") or "it breaks off"
        reason += f"; {SAVE}" if "UTF8" in reason or isinstance(error, UnicodeDecodeError) else ""
        raise UserError(f"{file}: broken JSON{last}: {reason}") from None
