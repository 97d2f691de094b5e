"""Files that are either whole or absent, and hashes of their content."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medim.common.declared import shown
from medim.common.errors import UserError, named
from medim.common.json_lines import BOM, parse_json

HEAD = 512  # bytes from a file's beginning by which `stand_in` knows it
_HARMLESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._+=@()-]{0,118}[A-Za-z0-9)])?")
_STAND_INS = {
    (b"version https://git-lfs.",): "is a git-LFS pointer, not the file itself: run `git lfs pull` where it was cloned",
    (b"/annex/objects/",): "is a git-annex pointer, not the file itself: run `git annex get` where it was cloned",
    (b"<!doctype", b"<html", b"<head", b"<?xml", b"<error"): (
        "is a web page or a server's message, not the file: download it again, from its own address"
    ),
}
_FAILED_WRITES = ("os error 28", "os error 122", ". unexpected pos ", "PytorchStreamWriter failed writing")
"""In messages of safetensors (the numbers of "no space" and "quota") and of torch, which gives no reason."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it replaces `path` in one step, on failure it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)  # not mkstemp: the process's umask says who may read
    mode = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(mode)  # safetensors replaces it by a file that only the owner may read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that `atomic_path` wrote and a killed process left."""
    return re.fullmatch(r"\..*\.[0-9a-f]{8}(\.[^.]*)?", name) is not None


def sweep(folder: Path, lock: Path) -> None:
    """Removes what killed processes left in a folder that the caller holds by `lock`; folders with another lock are left."""
    for place, folders, files in os.walk(folder):
        if Path(place) not in (folder, lock.parent) and any(name.endswith(".lock") for name in files):
            folders.clear()
            continue
        for name in filter(is_temporary, files):
            (Path(place) / name).unlink(missing_ok=True)


def share_weights(folder: Path) -> None:
    """Gives the weights in `folder` the rights of its config.json: the safetensors library ignores the umask."""
    for path in folder.glob("*.safetensors"):
        shutil.copymode(folder / "config.json", path)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes `content`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def file_name(name: str) -> str:
    """`name` where it is a harmless file name, else a hash of it: names come from others and may hold anything."""
    return name if _HARMLESS.fullmatch(name) else hash_of(name)


def located(root: Path, name: str) -> tuple[Path, bool]:
    """The path of a name relative to a folder, links followed, and whether a file is there.
    Raises ValueError: no file can have the name; the message is the same in every version of Python."""
    try:
        path = Path(os.path.realpath(root / name))  # a circle of links is no file; Path.resolve is of two minds about it
        return path, path.is_file()
    except OSError as error:
        raise ValueError(str(error.strerror)) from None
    except ValueError:
        raise ValueError("it holds a character that no file name has") from None


def stand_in(head: bytes) -> str | None:
    """What stands in place of a file of JSON or weights that begins with `head`; None where it may be one."""
    if not head:
        return "is empty: its download or copy did not end; get it again"
    start = head.removeprefix(BOM).lstrip().lower()
    return next((what for begins, what in _STAND_INS.items() if start.startswith(begins)), None)


def unreadable(path: Path, error: OSError) -> UserError:
    """The error of a file that the system does not open."""
    missing = isinstance(error, FileNotFoundError)
    return UserError(f"'{path}' does not exist" if missing else f"'{path}' cannot be read: {error.strerror}")


def read_json(path: str | Path, finite: bool = False) -> Any:
    """The value of a JSON file, with or without a byte order mark; `finite` refuses NaN and infinity.
    Raises UserError: it cannot be read, something else stands in its place, or it is no JSON, see `parse_json`."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if what := stand_in(data[:HEAD]):
        raise UserError(f"'{path}' {what}")
    with named(f"'{path}' cannot be read"):
        return parse_json(data.removeprefix(BOM), finite)


def read_mapping(path: str | Path, finite: bool = False) -> dict[str, Any]:
    """The fields of a file that holds one JSON object. Raises UserError as `read_json`, and where it holds something else."""
    value = read_json(path, finite)
    if not isinstance(value, dict):
        raise UserError(f"'{path}' holds {shown(value)}: an object of fields is needed")
    return value


def read_text(path: str | Path) -> str:
    """A file as UTF-8. Raises UserError where it is missing, unreadable or not UTF-8."""
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' cannot be read: not UTF-8: byte {error.start + 1}") from error


def home() -> Path:
    """The user's home folder. Raises UserError where there is none, as for a user whom a container does not know."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise UserError("no home folder is known to keep a cache in: set HOME, or MEDIM_BENCH_CACHE to a folder") from error


@contextmanager
def writes_into(folder: str | Path) -> Iterator[None]:
    """Around code that saves weights: a failed write, for which torch and safetensors have other types, is an OSError.
    The message names the folder and the room that is left."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or not any(sign in str(error) for sign in _FAILED_WRITES):
            raise
        room = shutil.disk_usage(folder).free / 1e6
        raise OSError(
            f"'{folder}' cannot be written to: no space left on the device, or a quota ({room:.0f} MB are free); make room, "
            "then the same command continues"
        ) from error


def hash_of(value: Any) -> str:
    """SHA-256 (first 16 hex digits) of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_files(*paths: str | Path) -> str:
    """SHA-256 (first 16 hex digits) over the names and bytes of the files, in the order given."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
