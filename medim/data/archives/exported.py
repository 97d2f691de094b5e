"""Pairs in the forms of other projects that `medim-bench export` wrote: packed without loss, and read back as they were."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from medim.common.declared import TOO_DEEP, deeper
from medim.common.errors import UserError
from medim.data.archives.fields import split_in
from medim.data.sources.pairs_file import NOT_STATED

_MARKS = {"id", "split", "patient", "study", "synthetic", "gate"}
"""Fields that every exported pair has, and no other project's entries have together."""
_IMAGE = ("image", "image_sha256")  # not read back: the picture is stored anew
EXTRA = "extra"


def packed(line: Mapping[str, Any], taken: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a pair but `image`, as a form writes them; those whose names it has taken itself go under `extra`.

    >>> packed({"id": "a", "image": "a.png", "image_path": 3}, ("image_path",))
    {'id': 'a', 'extra': {'image_path': 3}}
    """
    rest = {key: value for key, value in line.items() if key != "image"}
    aside = {key: rest.pop(key) for key in (*taken, EXTRA) if key in rest}
    return {**rest, EXTRA: aside} if aside else rest


def unpacked(value: Any, options: Any, taken: Collection[str] = (), report: str | None = None) -> dict[str, Any] | None:
    """The fields that `packed` was given, for `Record.fields`; None of an entry that no export wrote.
    `domain` and `terms` that the pair does not state are those of the options given by name, else `not stated`.
    `value`: the entry, or its JSON.
    `report`: where the form has the report elsewhere.
    Raises UserError: an exported entry that was damaged since, or a patient that `patient_from` does not find."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except RecursionError:
            raise UserError(TOO_DEEP) from None
        except ValueError:
            return None
    if not isinstance(value, Mapping) or not value.keys() >= _MARKS:
        return None
    if deeper(dict(value)):
        raise UserError(TOO_DEEP)
    aside = value.get(EXTRA, {})
    if not isinstance(aside, Mapping):
        raise UserError(f"field '{EXTRA}' must be an object")
    fields = {key: item for key, item in value.items() if key not in (*_IMAGE, *taken, EXTRA)} | dict(aside)
    if report is not None:
        fields.setdefault("report", report)
    for name in ("id", "report", "split", "patient", "study"):
        if not isinstance(fields.get(name), str) or not fields[name].strip():
            raise UserError(f"field '{name}' is missing or no text")
    split_in(fields["split"])
    for name in ("domain", "terms"):
        if not fields.get(name):
            fields[name] = getattr(options, name) if name in options.model_fields_set else NOT_STATED
    if options.patient_from:
        fields["patient"] = options.patient_in(fields["id"])
    return fields
