"""Records as tables: CSV long and wide, Markdown, and numbers as people read them."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from leaderboard.record import Record
from leaderboard.tables.boards import Board, Row, Table
from leaderboard.tables.ranking import Standing
from medim.common.csv_text import csv_text

UNVERIFIED = "unverified"
AS_STATED = "\N{DOUBLE DAGGER} Unverified: as its run states it, without sums by patient to recompute it from."
SYSTEM = ["kind", "model", "dataset", "split", "protocol", "seed", "run"]


def long_csv(records: Iterable[Record]) -> str:
    """One row a record, one column a field; `signature` is JSON text.
    A last column, `unverified`, is true where the value is only stated: there are no sums to recompute it from."""
    rows = (
        {**r.model_dump(), "signature": json.dumps(r.signature, sort_keys=True, ensure_ascii=False), UNVERIFIED: r.unverified}
        for r in records
    )
    return csv_text([*Record.model_fields, UNVERIFIED], rows)


def wide_csv(records: Iterable[Record]) -> str:
    """One row a system x data set x split x protocol (x seed and run), one column a `task/metric`; blanks are missing values.
    Rows and columns keep the order in which the records first name them; `unverified` lists the columns whose values are only
    stated, with a semicolon between two."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    columns: dict[str, None] = {}
    for record in records:
        system = record.model_dump(include=set(SYSTEM))
        row = rows.setdefault(tuple(system.values()), system)
        name = f"{record.task}/{record.metric}"
        columns.setdefault(name)
        row[name] = record.value
        if record.unverified:
            row[UNVERIFIED] = "; ".join(filter(None, [str(row.get(UNVERIFIED) or ""), name]))
    return csv_text([*SYSTEM, UNVERIFIED, *columns], rows.values())


def decimals(values: Iterable[float | None]) -> int:
    """Digits after the point for a column, so that its median shows 3 significant digits (4 from 1 upwards)."""
    sizes = sorted(abs(value) for value in values if value)
    if not sizes:
        return 3
    exponent = math.floor(math.log10(sizes[len(sizes) // 2]))
    return min(6, max(0, (3 if exponent >= 0 else 2) - exponent))


def number(value: float, places: int) -> str:
    """A value with `places` decimals; one that would vanish (0.000) keeps two significant digits instead."""
    text = f"{value:,.{places}f}"
    if value and float(text.replace(",", "")) == 0:
        text = f"{value:.2g}"
    return text.replace("-", "\N{MINUS SIGN}")


def arrow(higher_is_better: bool | None) -> str:
    """The direction of a metric as an arrow; nothing for a descriptive one."""
    return {True: "\N{UPWARDS ARROW}", False: "\N{DOWNWARDS ARROW}", None: ""}[higher_is_better]


def direction_of(column: Iterable[Record]) -> bool | None:
    """The direction that most records of a column state; the first of several."""
    stated = Counter(record.higher_is_better for record in column)
    return max(stated, key=lambda direction: stated[direction], default=None)


def item_of(group: str) -> Literal["domain", "metric", "finding"]:
    """What the items of a breakdown are (see `leaderboard.tables.boards.breakdown`), by the name of its group."""
    if group.startswith("macro"):
        return "domain"
    return "metric" if "gain over" in group else "finding"


@dataclass(frozen=True)
class Column:
    """One metric of a table as people read it."""

    name: str
    records: dict[str, Record]  # by row label
    direction: bool | None
    places: int  # decimals
    standings: dict[str, Standing]  # by row label, of those that are ranked

    @property
    def title(self) -> str:
        return f"{self.name} {arrow(self.direction)}".rstrip()


def columns_of(table: Table) -> list[Column]:
    """The columns of a table, without breakdowns."""
    columns = []
    for metric in table.metrics:
        records = table.column(metric)
        places = decimals(record.value for record in records.values())
        columns.append(Column(metric, records, direction_of(records.values()), places, table.standings(metric)))
    return columns


def blanks(table: Table) -> list[str]:
    """The reasons of the values that are missing in a table, each once, in the order of its cells."""
    cells = (row.cells.get(metric) for row in table.rows for metric in table.metrics)
    return list(dict.fromkeys(record.reason or "" for record in cells if record is not None and record.value is None))


def markdown(boards: Sequence[Board], reported: Sequence[Mapping[str, Any]]) -> str:
    """The leaderboard as Markdown: one table per data set and task, then what the paper reports (`reported_tables`)."""
    parts = ["# Leaderboard\n"]
    for board in boards:
        parts.append(f"## {board.dataset}, split {board.split}, protocol {board.protocol}\n")
        if board.synthetic:
            parts.append("**Synthetic data: no patient stands behind these images and reports.**\n")
        for table in board.tables:
            parts += [f"### {table.task}\n", table_markdown(table)]
    if reported:
        parts.append("## Reported by the paper, on other data: not comparable\n")
    for paper in reported:
        head = ["method", *(f"{metric} {direction}" for metric, direction in paper["columns"])]
        parts += [f"### {paper['title']}\n", _lines(head, [[f"{name} (reported)", *cells] for name, cells in paper["rows"]])]
    return "\n".join(parts)


def table_markdown(table: Table) -> str:
    """One table, its anchors and the reasons of its blanks as Markdown."""
    columns = columns_of(table)
    reasons = blanks(table)
    body = []
    for row in table.rows:
        shown = headline(row, table.metrics)
        label = row.label if row.kind == "measured" else f"*{row.label}* (anchor)"
        body.append([label, counts(shown), shares(shown), *(_cell(row, column, reasons) for column in columns)])
    notes = "".join(f"- [{number}] {reason}\n" for number, reason in enumerate(reasons, start=1))
    notes += f"- {AS_STATED}\n" if any(r.unverified for column in columns for r in column.records.values()) else ""
    head = ["system", "n", "coverage", *(column.title for column in columns)]
    return _lines(head, body) + (f"\n{notes}" if notes else "")


def _cell(row: Row, column: Column, reasons: list[str]) -> str:
    record = column.records.get(row.label)
    if record is None:
        return ""
    if record.value is None:
        return f"[{reasons.index(record.reason or '') + 1}]"
    text = number(record.value, column.places)
    standing = column.standings.get(row.label)
    if standing:
        text = f"**{text}**" if standing.best else text
        text += f" {standing.letters}" if standing.letters else ""
    if record.ci_low is not None and record.ci_high is not None:
        text += f" ({number(record.ci_low, column.places)} to {number(record.ci_high, column.places)})"
    return text + (" \N{DOUBLE DAGGER}" if record.unverified else "")


def headline(row: Row, metrics: Sequence[str]) -> list[Record]:
    """The records that a row's n and coverage sum up: of the columns without breakdowns, as far as they have cases."""
    shown = [row.cells[metric] for metric in metrics if metric in row.cells] or list(row.cells.values())
    return [record for record in shown if record.n != 0] or shown


def counts(records: Iterable[Record]) -> str:
    """The numbers of cases behind records: one number, or the range."""
    values = sorted({record.n for record in records if record.n is not None})
    return "" if not values else f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,}\N{EN DASH}{values[-1]:,}"


def shares(records: Iterable[Record]) -> str:
    """The lowest coverage of records, in percent; 100 % only where it is all."""
    values = [record.coverage for record in records if record.coverage is not None]
    if not values:
        return ""
    return "100 %" if min(values) == 1 else f"{min(math.floor(1000 * min(values)) / 10, 99.9):g} %"


def _lines(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_shown(cell).replace("|", "\\|") for cell in cells) + " |\n"

    rule = "|---|" + "---:|" * (len(head) - 1) + "\n"
    return line(head) + rule + "".join(map(line, body))


def _shown(text: str) -> str:
    """Text on one line, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
