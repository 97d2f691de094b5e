"""What can run here, what is missing, and the file, package or command that provides it. Nothing is changed or contacted."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from medim.common.errors import UserError

READY, MISSING, BROKEN, NOTE = "ready", "missing", "broken", "note"


@dataclass(frozen=True)
class Finding:
    """What was found out about one capability.

    Attributes:
        group: heading of the table.
        name: what it is that can run or not.
        state: `ready`; `missing`: optional and not here; `broken`: needed and not here, or here and not as it should be;
            `note`: neither, something to know.
        found: what is here.
        provide: the file, package or command that makes it ready; empty where it is.
        details: for `--json`, such as the version of every package.
    """

    group: str
    name: str
    state: str
    found: str = ""
    provide: str = ""
    details: dict[str, Any] = field(default_factory=dict)


Check = Callable[[], Iterable[Finding]]


def examine(checks: Sequence[Check]) -> list[Finding]:
    """The findings of all checks. A check that fails in a way of its own is a finding too: the others go on."""
    found: list[Finding] = []
    for check in checks:
        try:
            found += check()
        except Exception as error:  # whatever is wrong with an installation, the doctor has to be able to say it
            found.append(Finding("Not examined", check.__name__.strip("_"), BROKEN, f"{type(error).__name__}: {_line(error)}"))
    return found


def ask(group: str, name: str, question: Callable[[], str], provide: str = "") -> Finding:
    """Ready with what `question` returns; missing with what a `UserError` of it says, or where a package lacks; broken where it
    fails otherwise."""
    try:
        return Finding(group, name, READY, question())
    except UserError as error:
        return Finding(group, name, MISSING, _line(error), provide)
    except ModuleNotFoundError as error:
        return Finding(group, name, MISSING, f"needs the package {error.name}", provide or f"pip install {error.name}")
    except Exception as error:  # a file that is no weights, a package that does not import
        return Finding(group, name, BROKEN, f"{type(error).__name__}: {_line(error)}", provide)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def all_checks() -> list[Check]:
    """In the order of the table."""
    from benchmark.doctor import capabilities as doctor_capabilities
    from benchmark.doctor import machine as doctor_machine
    from benchmark.doctor import packages as doctor_packages

    return [*doctor_machine.CHECKS, *doctor_packages.CHECKS, *doctor_capabilities.CHECKS]


def table(findings: Sequence[Finding]) -> str:
    """For reading: a heading for each group, a line for each capability, below it what provides it."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines: list[str] = []
    group = None
    for finding in findings:
        if finding.group != group:
            group = finding.group
            lines += ["", group] if lines else [group]
        lines.append(f"  {finding.name:{width}}  {finding.state:8}{finding.found}".rstrip())
        if finding.provide:
            lines.append(f"  {'':{width}}  {'':8}-> {finding.provide}")
    return "\n".join(lines)


def summary(findings: Sequence[Finding]) -> str:
    """One line: how many of each state, and what is broken."""
    count = {state: sum(finding.state == state for finding in findings) for state in (READY, MISSING, BROKEN)}
    line = f"{count[READY]} ready, {count[MISSING]} missing (optional), {count[BROKEN]} broken"
    broken = [finding.name.strip() for finding in findings if finding.state == BROKEN]
    return f"{line}: {', '.join(broken)}" if broken else line


def as_dict(findings: Sequence[Finding]) -> dict[str, Any]:
    """JSON-able."""
    return {"findings": [asdict(finding) for finding in findings], "healthy": healthy(findings)}


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing is broken."""
    return all(finding.state != BROKEN for finding in findings)
