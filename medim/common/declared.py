"""Settings declared in YAML: read into a pydantic model, with mistakes as one line."""

import json
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from medim.common.errors import UserError, named, unknown

Declared = TypeVar("Declared", bound=BaseModel)
Table = TypeVar("Table")
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxdict, _REPR.maxlist, _REPR.maxstring, _REPR.maxother = 2, 3, 3, 60, 60

DEEPEST = 100  # lists and objects inside each other that a value from a file may have: Python's limit differs between versions
TOO_DEEP = f"lists and objects are nested more than {DEEPEST} deep"


def deeper(value: Any) -> bool:
    """Whether there are more than `DEEPEST` lists and objects inside each other."""
    layer = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        items = (item for part in layer for item in (part.values() if isinstance(part, dict) else part))
        layer = list({id(item): item for item in items if isinstance(item, dict | list)}.values())  # YAML may repeat one
    return bool(layer)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, and reads numbers as a person does. YAML 1.1 reads 010 as 8, 1:30 as 90, 2026-1-1 as a
    date, and 1e-4 as text. Here the first three are texts, which no number's field takes, and the last is the number."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("int", "float", "timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"'{key.value:.80}' stands twice", problem_mark=key.start_mark)
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep=deep)


_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$")
_FRACTION = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$"
    r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _WHOLE, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FRACTION, list("-+.0123456789"))


def read_yaml(text: str | bytes, where: str) -> Any:
    """The value of a YAML text; `where` is how an error names it.
    Raises UserError: broken YAML, a key twice in one mapping, or nesting of more than `DEEPEST`."""
    try:
        value = yaml.load(text, _Loader)
        if deeper(value):
            raise RecursionError
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise UserError(f"{where}: broken YAML: {' '.join(f'{error.problem or error.context}'.split())}{place}") from error
    except (yaml.YAMLError, ValueError) as error:  # a control character; a number of thousands of digits, a month 13
        raise UserError(f"{where}: broken YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise UserError(f"{where}: {TOO_DEEP}") from None
    return value


def read_mapping(text: str | bytes, where: str) -> dict[str, Any]:
    """The keys and values of a YAML text. Raises UserError as `read_yaml`, and where it is no mapping."""
    content = read_yaml(text, where)
    if not isinstance(content, dict):
        raise UserError(f"{where}: a mapping of fields to values is needed")
    return content


def read_table(path: Path, kind: type[Table]) -> Table:
    """The YAML file of a table that lies beside the code, as a type such as a dataclass or `dict[str, tuple[str, ...]]`."""
    return TypeAdapter(kind).validate_python(yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def checked(kind: type[Declared], values: Mapping[str, Any], where: str) -> Declared:
    """The values as a `kind`; none is read as another type than it has, but a whole number as a fraction.
    Raises UserError: the first field that is unknown (with the nearest), missing or invalid."""
    try:
        with named(where):  # by way of JSON, where strict still makes tuples of lists and paths of texts
            return kind.model_validate_json(json.dumps(dict(values)), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            raise UserError(f"{where}: {unknown('field', field, kind.model_fields)}") from error
        message = problem["msg"].removeprefix("Value error, ")
        if not field:
            raise UserError(f"{where}: {message}") from error
        given = "" if problem["type"] == "missing" else f" (given: {shown(problem['input'])})"
        raise UserError(f"{where}: field '{field}': {message}{given}") from error
    except (TypeError, ValueError, RecursionError) as error:  # a key that is a list, a list that holds itself
        raise UserError(f"{where}: cannot be read: {error}") from error


def shown(value: Any) -> str:
    """A value from a file, for an error's line: its beginning, whatever its size and depth."""
    return _REPR.repr(value)
