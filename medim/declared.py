"""Settings declared in YAML: read into a pydantic model, and mistakes told in one line."""

from collections.abc import Mapping
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from medim.errors import UserError, unknown

Declared = TypeVar("Declared", bound=BaseModel)


def read_mapping(text: str, where: str) -> dict[str, Any]:
    """The keys and values of a YAML text; `where` is how an error names it.

    Raises:
        UserError: broken YAML, or something else than a mapping.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: broken YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{where}: a mapping of fields to values is needed")
    return content


def checked(kind: type[Declared], values: Mapping[str, Any], where: str) -> Declared:
    """The values as a `kind`.

    Raises:
        UserError: a field that is unknown (with the nearest), missing or invalid; the first such.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            raise UserError(f"{where}: {unknown('field', field, kind.model_fields)}") from error
        place = f"field '{field}': " if field else ""
        raise UserError(f"{where}: {place}{problem['msg'].removeprefix('Value error, ')}") from error
