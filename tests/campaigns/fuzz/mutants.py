"""Seeded mutants of JSON, JSON-lines and YAML files: values of other kinds, keys twice or misspelt, bytes cut or flipped."""

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

HUGE = 10**47
DEEP = re.compile(r'"<(\d+) deep>"')
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    1.0,
    0.5,
    -0.0,
    1e-40,
    1e300,
    10**18,
    HUGE,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "0",
    "1",
    "3",
    "1.0",
    "1e3",
    "true",
    "yes",
    "no",
    "null",
    "None",
    "nan",
    "NaN",
    "inf",
    "0x10",
    "1_000",
    "12:30",
    "192px",
    "\ud800",
    "\x00",
    "\x1b[31mred",
    "a\nb",
    "a\u2028b",
    "\ufeffx",
    "../../escape",
    "/etc/passwd",
    "C:\\x",
    "=1+1",
    "é" * 3,
    "x" * 100_000,
    [],
    {},
    [None],
    ["x"],
    [1],
    [[]],
    {"": 0},
    {"x": {"y": "z"}},
    [0] * 50_000,
)
"""What a field is replaced by. Half of a surrogate pair is writable as an escape alone."""


def mutant(base: list[Any], rng: random.Random) -> tuple[str, bytes]:
    """What was done, and the file: one value a line; JSON is YAML, too."""
    values = copy.deepcopy(base)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        change = rng.choice(VALUES)
        done.append(change(values, rng))
    escaped = rng.random() < 0.3 or "\\ud8" in json.dumps(values)
    lines = [DEEP.sub(_nested, json.dumps(value, ensure_ascii=escaped)) for value in values]
    if rng.random() < 0.25:
        place = rng.randrange(len(lines))
        change_text = rng.choice(LINES)
        done.append(change_text.__name__.strip("_"))
        lines[place] = change_text(lines[place], rng)
    data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        change_bytes = rng.choice(BYTES)
        done.append(change_bytes.__name__.strip("_"))
        data = change_bytes(data, rng)
    return ", ".join(done), data


def _nested(mark: re.Match[str]) -> str:
    depth = int(mark[1])
    return "[" * depth + "0" + "]" * depth if depth % 2 else '{"x": ' * depth + "0" + "}" * depth


def _places(values: list[Any]) -> list[tuple[Any, Any]]:
    """(container, key or index) of all values within the lines, and of the lines."""

    def within(value: Any) -> Iterator[tuple[Any, Any]]:
        keys = list(value) if isinstance(value, dict) else list(range(min(len(value), 8))) if isinstance(value, list) else []
        for key in keys:
            yield value, key
            yield from within(value[key])

    return list(within(values))


def _replace(values: list[Any], rng: random.Random) -> str:
    place, key = rng.choice(_places(values))
    place[key] = copy.deepcopy(rng.choice(ODD))
    return f"{key} = {str(place[key])[:20]!r}"


def _retype(values: list[Any], rng: random.Random) -> str:
    """The same to a lenient reader: 3 as "3", 3.0 or [3]; a text as its list; true as 1."""
    place, key = rng.choice(_places(values))
    old = place[key]
    others: list[Any] = [[old], str(old), {"value": old}]
    if isinstance(old, bool):
        others += [int(old), float(old), "yes" if old else "no"]
    elif isinstance(old, int):
        others += [float(old), float(old), bool(old), old + 0.5]
    elif isinstance(old, float):
        others += [bool(old), -old, f"{old}"]
    elif isinstance(old, list):
        others += [dict.fromkeys(map(str, old)), ",".join(map(str, old)), [*old, *old]]
    place[key] = rng.choice(others)
    return f"{key} retyped to {str(place[key])[:20]!r}"


def _drop(values: list[Any], rng: random.Random) -> str:
    place, key = rng.choice(_places(values))
    if place is values and len(values) == 1:
        return _replace(values, rng)
    del place[key]
    return f"{key} dropped"


def _misspell(values: list[Any], rng: random.Random) -> str:
    places = [(place, key) for place, key in _places(values) if isinstance(place, dict)]
    if not places:
        return _replace(values, rng)
    place, key = rng.choice(places)
    new = rng.choice((key[:-1], key.upper(), f"{key}s", f" {key}", f"_{key}", "", "auto_map", "extends"))
    place[new] = place.pop(key)
    return f"{key} called {new!r}"


def _deepen(values: list[Any], rng: random.Random) -> str:
    place, key = rng.choice(_places(values))
    depth = rng.choice((3, 4, 61, 400, 2001, 100_000))
    place[key] = f"<{depth} deep>"
    return f"{key} {depth} deep"


def _repeat(values: list[Any], rng: random.Random) -> str:
    values.insert(rng.randrange(len(values) + 1), copy.deepcopy(rng.choice(values)))
    return "a line twice"


def _key_twice(line: str, rng: random.Random) -> str:
    try:
        value = json.loads(line)
        key = rng.choice(list(value))
        other = rng.choice((value[key], copy.deepcopy(rng.choice(ODD))))
    except (ValueError, TypeError, IndexError, RecursionError, KeyError):
        return line + line
    return "{" + json.dumps(key) + ": " + json.dumps(other) + ", " + line.lstrip()[1:]


def _unquote(line: str, rng: random.Random) -> str:
    return line.replace('"', rng.choice(("'", "", '"" ')))


def _stray(line: str, rng: random.Random) -> str:
    place = rng.randrange(len(line) + 1)
    return (
        line[:place]
        + rng.choice(
            ("\t", ",", "{", "]", ":", "#", " // x", "&a ", "*a ", "!!python/name:os.system ", "<<: ", "\\", "\r\n", "\n")
        )
        + line[place:]
    )


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _flip(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]


def _recode(data: bytes, rng: random.Random) -> bytes:
    return data.decode("utf-8", "replace").encode(rng.choice(("utf-8-sig", "utf-16", "utf-16-le", "latin-1")), "replace")


def _line_ends(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"")))


Values = Callable[[list[Any], random.Random], str]
VALUES: tuple[Values, ...] = (_replace, _replace, _replace, _retype, _retype, _retype, _drop, _misspell, _deepen, _repeat)
LINES: tuple[Callable[[str, random.Random], str], ...] = (_key_twice, _key_twice, _unquote, _stray)
BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_cut, _flip, _recode, _line_ends)
