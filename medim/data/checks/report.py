"""What a check found, as lines to read and as JSON."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal

from medim.common.errors import unknown

Severity = Literal["error", "failure", "warning", "note"]
ALLOWABLE = ("patient-leakage", "image-leakage", "near-duplicates")
"""Errors that a user may override by name; where they are not, results on the set cannot be trusted."""

SHOWN = 5  # examples of an issue on the screen
LISTED = 1000  # and in the JSON


@dataclass(frozen=True)
class Issue:
    """One kind of finding of a check."""

    severity: Severity  # error (leakage: results cannot be trusted), failure (a pair is lost), warning, or note
    kind: str  # its name, for `--allow` and for programs
    message: str  # one line with its numbers
    examples: tuple[str, ...] = ()  # each a line that names pairs; the first `LISTED` at most
    advice: str = ""  # what to do, or empty


@dataclass(frozen=True)
class Table:
    """Numbers by split: a title and, for each row, its name and one cell a split."""

    title: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Report:
    """What a check found."""

    dataset: str
    fingerprint: str | None  # of the whole set; None where only a part was read
    terms: str
    sizes: dict[str, int]  # pairs that were read, by split
    statistics: dict[str, dict[str, Any]]  # numbers by split and topic, JSON-able
    tables: tuple[Table, ...]  # the same, laid out to be read
    issues: tuple[Issue, ...]  # from the worst to the mildest
    failures: tuple[tuple[str, str], ...]  # (id, reason) of every pair that could not be read

    def leaks(self, allow: Collection[str] = ()) -> list[Issue]:
        """The errors that `allow` does not name. Raises UserError: `allow` names something else than one of `ALLOWABLE`."""
        for name in allow:
            if name not in ALLOWABLE:
                raise unknown("leakage to allow", name, ALLOWABLE)
        return [issue for issue in self.issues if issue.severity == "error" and issue.kind not in allow]

    def to_json(self, allow: Collection[str] = ()) -> dict[str, Any]:
        """All of it, JSON-able; `allowed` repeats what was overridden."""
        values = asdict(self) | {"failures": len(self.failures), "allowed": sorted(allow)}
        return {name: value for name, value in values.items() if name != "tables"}

    def lines(self, allow: Collection[str] = ()) -> list[str]:
        """A page of text: tables, then issues."""
        lines = [f"{self.dataset}   terms: {self.terms}"]
        for table in self.tables:
            lines += ["", *_laid_out(table, tuple(self.sizes))]
        lines.append("")
        for issue in self.issues:
            allowed = issue.severity == "error" and issue.kind in allow
            lines.append(f"{'allowed' if allowed else issue.severity:<8} {issue.kind}: {issue.message}")
            lines += [f"           {example}" for example in issue.examples[:SHOWN]]
            if len(issue.examples) > SHOWN:
                lines.append(f"           ... (--out DIR lists {len(issue.examples) - SHOWN} more)")
            if issue.advice and not allowed:
                lines.append(f"         > {issue.advice}")
        if not self.issues:
            lines.append("nothing to complain about")
        return lines


def _laid_out(table: Table, splits: tuple[str, ...]) -> list[str]:
    rows = [(table.title, splits), *table.rows]
    first = max(len(name) for name, _ in rows)
    widths = [max(len(cells[column]) for _, cells in rows) for column in range(len(splits))]
    return [
        (f"{name:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))).rstrip()
        for name, cells in rows
    ]
