"""What can run here, what is missing, and the file, package or command that provides it. Nothing is changed or contacted."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmark.doctor import capabilities, machine, packages
from benchmark.doctor.finding import BROKEN, MISSING, READY, Check, Finding, one_line


def all_checks() -> list[Check]:
    """In the order of the table."""
    return [*machine.CHECKS, *packages.CHECKS, *capabilities.CHECKS]


def examine(checks: Sequence[Check]) -> list[Finding]:
    """The findings of all checks. A check that raises becomes a finding: the others go on."""
    found: list[Finding] = []
    for check in checks:
        try:
            found += check()
        except Exception as error:  # the doctor has to name whatever is wrong with an installation
            name = check.__name__.strip("_")
            found.append(Finding("Not examined", name, BROKEN, f"{type(error).__name__}: {one_line(error)}"))
    return found


def table(findings: Sequence[Finding]) -> str:
    """A heading for each group, a line for each capability, below it what provides it."""
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
