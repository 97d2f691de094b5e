"""A folder belongs to one configuration: the same one continues what is there, another one is refused."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.common.files import read_mapping, write_json

ANEW = "--overwrite to start anew"


def refuse_another(
    folder: Path,
    kind: str,
    present: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    remedy: str = ANEW,
    unset_is_null: bool = False,
) -> None:
    """Raises a UserError that names the first key in which two configurations (JSON-able, may be nested) of a folder differ.
    `kind`: what the folder holds, such as "a run". `remedy`: what else may be done than to choose another folder.
    `unset_is_null`: a key that one side lacks is as good as null, so that a new option does not end what was there before."""
    missing = None if unset_is_null else object()
    before, now = (flatten(json.loads(json.dumps(one))) for one in (present, wanted))
    for key in dict.fromkeys([*now, *before]):
        values = [one.get(key, missing) for one in (before, now)]
        if values[0] != values[1]:
            here, there = ("unset" if key not in one else json.dumps(one[key], ensure_ascii=False) for one in (before, now))
            raise UserError(
                f"'{folder}' holds {kind} with {key} = {here}, and now {key} = {there}: choose another folder, or {remedy}"
            )


def refuse_foreign(out: Path, configuration: Path, kind: str) -> None:
    """Raises a UserError where `out` is a file, or holds files and no `configuration`, a path inside it."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    ours = configuration.relative_to(out).parts[0]
    if not configuration.exists() and out.is_dir() and any(child.name != ours for child in out.iterdir()):
        raise UserError(f"--out {out} holds files that no {kind} of medim-bench wrote; choose another folder")


def claim(
    out: Path, path: Path, configuration: Mapping[str, Any], kind: str, clear: Callable[[], object] | None, remedy: str = ANEW
) -> None:
    """Gives `out`, which the caller holds, to a configuration, new or to be continued. `path`: the file of the configuration.
    `clear`: removes what an earlier configuration left, `path` last; None to continue it. Raises UserError: see
    `refuse_another`."""
    if clear is not None and path.exists():
        clear()
    if path.exists():
        refuse_another(out, kind, read_mapping(path), configuration, remedy=remedy)
    else:
        write_json(path, configuration)


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            flat.update(flatten(item, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = item
    return flat
