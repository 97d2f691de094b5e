"""What a folder holds, without times: two that were filled by the same command must be equal."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch

TIMES = {
    "created",
    "seconds",
    "seconds_of_last_sitting",
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "eval_runtime",
    "eval_samples_per_second",
    "eval_steps_per_second",
}
"""Fields that tell when, or how long it took."""
_CLOCK = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:\d\d|Z)?")


def snapshot(*folders: Path) -> dict[str, Any]:
    """Relative path -> content of all files, links and folders."""
    paths = [(folder, path) for folder in folders for path in sorted(folder.rglob("*"))]
    return {f"{folder.name}/{path.relative_to(folder)}": _content(path) for folder, path in paths}


def differences(whole: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """One line for each path that is missing, left over, or holds something else."""
    lines = [f"missing: {name}" for name in whole.keys() - other.keys()]
    lines += [f"left over: {name}" for name in other.keys() - whole.keys()]
    lines += [
        f"differs: {name}{_where(whole[name], other[name])}"
        for name in whole.keys() & other.keys()
        if whole[name] != other[name]
    ]
    return sorted(lines)


def _content(path: Path) -> Any:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return "folder"
    if path.name in ("log.txt", "page.json", "done.json"):  # what each sitting printed; hashes of files with times in them
        return "a file"
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)
        return _timeless(state) if isinstance(state, dict) else state
    data = path.read_bytes()
    if path.suffix == ".json":
        return _timeless(json.loads(data))
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in data.splitlines() if line]
    return hashlib.sha256(_CLOCK.sub(b"TIME", data) if path.suffix in (".html", ".md", ".csv", ".txt") else data).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    return [_timeless(item) for item in value] if isinstance(value, list | tuple) else value


def _where(one: Any, other: Any, place: str = "") -> str:
    """The first place inside JSON at which two contents differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in (one | other) if one.get(key, "absent") != other.get(key, "absent")]
        return _where(one.get(keys[0], "absent"), other.get(keys[0], "absent"), f"{place}.{keys[0]}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        number = next(index for index, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
        return _where(one[number], other[number], f"{place}[{number}]")
    if isinstance(one, list) and isinstance(other, list):
        return f" at {place}: {len(one)} against {len(other)} entries, the last {str(one[-1:])[:80]} and {str(other[-1:])[:80]}"
    return f" at {place}: {str(one)[:60]} against {str(other)[:60]}" if place else ""
