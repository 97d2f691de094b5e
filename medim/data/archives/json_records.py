"""Entries of large JSON files, one at a time: a list, an object of lists, or one object a line."""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any, BinaryIO, cast

from medim.common.declared import DEEPEST, TOO_DEEP, deeper
from medim.common.errors import UserError
from medim.common.files import HEAD, stand_in
from medim.common.json_lines import BOM, HALF, parse_json
from medim.data.archives.archive import Loss
from medim.data.archives.tables import SAVE

_LINE = 1 << 20
_BLOCK = 1 << 16
_SLACK = 12  # characters before the end of a block in which a token may be cut: the longest one without quotes is `-Infinity`


@dataclass(frozen=True)
class Entry:
    """One element of a list."""

    key: str | None  # under which of the object's keys the list stands; None where the file is one list
    number: int  # position in its list from 1; in a file of lines the line's number
    value: Any

    def name(self, file: Path) -> str:
        return f"{file.name}{f', {self.key!r}' if self.key is not None else ''}, entry {self.number}"


def read_entries(file: Path) -> Iterator[Entry | Loss]:
    """The elements of `[...]`, of `{"key": [...], ...}`, or the lines of a `.jsonl` file, in the file's order.

    Memory holds one element. A broken line of a `.jsonl` file, an element in which a field stands twice or a text holds half
    of a surrogate pair is a `Loss`; after another mistake nothing can be read. UTF-8, or UTF-16 with its mark. NaN and
    infinity, which JSON does not have, become such numbers: `fields.report_in` and its like name them.

    Raises UserError: the file cannot be opened, is no such JSON, or breaks off; the line names the entry before.
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


def read_list(file: Path) -> Iterator[Entry | Loss]:
    """`read_entries` of a file that is one list, or lines. Raises UserError: as that, or it is an object of lists."""
    for entry in read_entries(file):
        if isinstance(entry, Entry) and entry.key is not None:
            raise UserError(f"{file}: an object with the key '{entry.key}'; a list of entries, or one a line, is needed")
        yield entry


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
    Raises UserError: there is none, or there are several; the line names them and the option."""
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
            yield Entry(None, number, parse_json(text, finite=False))
        except UserError as error:
            yield Loss(f"{file.name}:{number}", str(error))


def _elements(file: Path, stream: BinaryIO) -> Iterator[Entry | Loss]:
    text = _Text(stream)
    key: str | None = None
    number = 0  # of entries of the list that have been read
    try:
        opening = text.take()
        if opening not in ("[", "{"):
            raise UserError(f"{file}: a list or an object of lists is needed") if opening else text.broken("a value")
        for _ in text.items("}") if opening == "{" else range(1):
            if opening == "{":
                key, number = text.value(), 0
                text.expect(":")
                if text.take() != "[":
                    raise UserError(f"{file}: '{key}' holds no list")
            for _ in text.items("]"):
                entry = Entry(key, number + 1, text.value())
                number += 1
                yield Loss(entry.name(file), text.mistake) if text.mistake else entry
        if text.peek():
            raise text.broken("the file's end")
    except RecursionError:
        raise UserError(f"{file}: entry {number + 1}{f' of {key!r}' if key is not None else ''}: {TOO_DEEP}") from None
    except ValueError as error:
        after = f" after entry {number}{f' of {key!r}' if key is not None else ''}" if number else ""
        reason = error.msg if isinstance(error, JSONDecodeError) else str(error)
        reason = f"not UTF-8; {SAVE}" if isinstance(error, UnicodeDecodeError) else reason
        raise UserError(f"{file}: broken JSON{after}: {reason}") from None


class _Text:
    """The text of a JSON file, of which memory holds what is not read yet of the last block."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._scanner = json.JSONDecoder(object_pairs_hook=self._object)
        self._text, self._at, self._ended = "", 0, False
        self._fault: UnicodeDecodeError | None = None
        self.mistake: str | None = None
        """Of the value read last: a field that stands twice, or half of a surrogate pair."""

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def take(self) -> str:
        """`peek`, and past it."""
        found = self.peek()
        self._at += 1
        return found

    def expect(self, character: str) -> None:
        if self.take() != character:
            raise self.broken(f"'{character}'")

    def items(self, closing: str) -> Iterator[None]:
        """Stops before each of the items between here and `closing`, and past that at the end."""
        if self.peek() != closing:
            yield
            while self.peek() != closing:
                self.expect(",")
                yield
        self.take()

    def broken(self, wanted: str) -> JSONDecodeError:
        return JSONDecodeError("it breaks off" if self._ended and not self.peek() else f"{wanted} is expected", "", 0)

    def value(self) -> Any:
        """The value that begins here. Raises ValueError: it is no JSON. Raises RecursionError: it is nested more than
        `DEEPEST`."""
        self.peek()
        while True:
            self.mistake = None
            try:
                value, end = self._scanner.raw_decode(self._text, self._at)
            except JSONDecodeError as error:
                is_cut = error.pos + _SLACK > len(self._text) or error.msg.startswith("Unterminated string")
                if self._ended or not is_cut:
                    raise
            else:
                if self._ended or end + _SLACK <= len(self._text):
                    break
            self._more()
        start, self._at = self._at, end
        if sum(self._text.count(bracket, start, end) for bracket in "[{") > DEEPEST and deeper(value):
            raise RecursionError
        if self._text.find("\\ud", start, end) >= 0 or self._text.find("\\uD", start, end) >= 0:
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                self.mistake = HALF
        return value

    def _object(self, items: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(items)
        if len(fields) < len(items):
            keys = [key for key, _ in items]
            self.mistake = f"field '{next(key for key in keys if keys.count(key) > 1)}' stands twice"
        return fields

    def _more(self) -> None:
        """Reads as much again as is not read yet, a block at least."""
        if self._fault is not None:
            raise self._fault
        data = self._stream.read(max(_BLOCK, len(self._text) - self._at))
        self._ended = not data
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            self._fault = error  # raised once what stands before has been read
            text = error.object[: error.start].decode()
        self._text, self._at = self._text[self._at :] + text, 0
