"""One finding of the doctor, and how a question becomes one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from medim.common.errors import UserError

READY, MISSING, BROKEN, NOTE = "ready", "missing", "broken", "note"


@dataclass(frozen=True)
class Finding:
    group: str  # heading of the table
    name: str
    state: str  # `ready`; `missing`: optional and not here; `broken`: needed and not here, or damaged; `note`: for information
    found: str = ""  # what is here
    provide: str = ""  # the file, package or command that makes it ready; empty where it is
    details: dict[str, Any] = field(default_factory=dict)  # for `--json`, such as the version of every package


Check = Callable[[], Iterable[Finding]]


def ask(group: str, name: str, question: Callable[[], str], provide: str = "") -> Finding:
    """Ready with what `question` returns; missing where it raises a `UserError` or lacks a package; broken where it fails
    otherwise."""
    try:
        return Finding(group, name, READY, question())
    except UserError as error:
        return Finding(group, name, MISSING, one_line(error), provide)
    except ModuleNotFoundError as error:
        return Finding(group, name, MISSING, f"needs the package {error.name}", provide or f"pip install {error.name}")
    except Exception as error:  # a file that is no weights, a package that does not import
        return Finding(group, name, BROKEN, f"{type(error).__name__}: {one_line(error)}", provide)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
