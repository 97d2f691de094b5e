"""Pairs in the forms of other projects that `medim-bench export` wrote: packed without loss, and read back as they were."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from medim.common.declared import TOO_DEEP, deeper
from medim.common.errors import UserError
from medim.data.archives.fields import known_split, unknown_split
from medim.data.sources.pairs_file import NOT_STATED

_MARKS = {"id", "split", "patient", "study", "synthetic", "gate"}
"""Fields that every exported pair has, and no other project's entries have together."""
_IMAGE = ("image", "image_sha256")  # the reader's own: it stores the picture anew
EXTRA = "extra"


def packed(line: Mapping[str, Any], taken: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a pair but `image`, as a form writes them beside its own; those that it takes itself go under `extra`.

    >>> packed({"id": "a", "image": "a.png", "image_path": 3}, ("image_path",))
    {'id': 'a', 'extra': {'image_path': 3}}
    """
    rest = {key: value for key, value in line.items() if key != "image"}
    aside = {key: rest.pop(key) for key in (*taken, EXTRA) if key in rest}
    return {**rest, EXTRA: aside} if aside else rest


def unpacked(value: Any, taken: Collection[str] = (), report: str | None = None) -> dict[str, Any] | None:
    """The fields that `packed` was given, for `Record.fields`; None of an entry that no export wrote.

    Args:
        value: the entry, or its JSON.
        report: where the form keeps the report itself.

    Raises:
        UserError: an exported entry that was damaged since.
    """
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
    own = {key: item for key, item in value.items() if key not in (*_IMAGE, *taken, EXTRA)} | dict(aside)
    if report is not None:
        own.setdefault("report", report)
    for field in ("id", "report", "split", "patient", "study"):
        if not isinstance(own.get(field), str) or not own[field].strip():
            raise UserError(f"field '{field}' is missing or no text")
    if known_split(own["split"]) is None:
        raise unknown_split(own["split"])
    return own


def completed(own: dict[str, Any], options: Any) -> dict[str, Any]:
    """The fields with `domain` and `terms` where the pair states none: of the options given by name, else `not stated`."""
    for field in ("domain", "terms"):
        if not own.get(field):
            own[field] = getattr(options, field) if field in options.model_fields_set else NOT_STATED
    if options.patient_from:
        patient = options.patient_in(own["id"])
        if patient is None:
            raise UserError(f"patient_from '{options.patient_from}' does not match the id")
        own["patient"] = patient
    return own
