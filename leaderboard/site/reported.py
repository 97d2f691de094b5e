"""The paper's own tables, each beside what was measured here by the same metrics or their nearest equivalents."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leaderboard.record import Record
from leaderboard.tables.compare import Board, Row
from leaderboard.tables.formats import arrow, decimals, direction_of, number

MEASURED_ROWS = 16  # beside one published table
# Where a metric of the paper was not computed under its name, the nearest that was.
EQUIVALENTS = {"FID": ("FID", "Fréchet distance"), "IS": ("Inception Score", "IS")}
DOWNSTREAM = "augmentation"  # whose published numbers are relative gains, by the names of the metrics that gain
RELATIVE = "relative gain over real-repeated in per cent: "


def reported_tables(records: Sequence[Record], boards: Sequence[tuple[str, Board]]) -> list[dict[str, Any]]:
    """One table of the paper at a time: its rows as printed, and rows of this page that have some of its columns.

    Args:
        boards: with their anchors on the page.
    """
    tables: dict[tuple[str, str], dict[str, dict[str, Record]]] = {}
    for record in records:
        key = (record.signature["source"], record.dataset)
        tables.setdefault(key, {}).setdefault(record.model, {})[record.metric] = record
    return [_table(source, dataset, methods, boards) for (source, dataset), methods in tables.items()]


def _table(
    source: str, dataset: str, methods: Mapping[str, Mapping[str, Record]], boards: Sequence[tuple[str, Board]]
) -> dict[str, Any]:
    metrics = list(dict.fromkeys(metric for cells in methods.values() for metric in cells))
    columns = {metric: [cells[metric] for cells in methods.values() if metric in cells] for metric in metrics}
    # As many digits as the paper prints.
    places = {m: max(len(repr(r.value).partition(".")[2]) for r in column) for m, column in columns.items()}
    tasks = {record.task for column in columns.values() for record in column}
    wanted = {metric: metric.removeprefix("m") if dataset.startswith("mean(") else metric for metric in metrics}
    measured = list(_measured(tasks, wanted, boards))
    return {
        "title": f"{source.rpartition(', ')[2]}: {dataset}",
        "source": source,
        "columns": [(metric, arrow(direction_of(columns[metric]))) for metric in metrics],
        "rows": [
            (method, [number(cells[m].value or 0.0, places[m]) if m in cells else "" for m in metrics])
            for method, cells in methods.items()
        ],
        "measured": measured[:MEASURED_ROWS],
        "more": max(0, len(measured) - MEASURED_ROWS),
    }


def _measured(tasks: set[str], wanted: Mapping[str, str], boards: Sequence[tuple[str, Board]]) -> Iterator[dict[str, Any]]:
    """Rows of models, real data first, that hold at least one of the wanted metrics; of all tasks that the table mixes."""
    prefix = RELATIVE if tasks == {DOWNSTREAM} else ""
    for anchor, board in sorted(boards, key=lambda entry: entry[1].synthetic):
        rows: dict[tuple[str, str], dict[str, Record]] = {}
        for table in board.tables:
            task, _, regime = table.task.partition(" (")
            if task in tasks:
                for row in table.rows:
                    if row.kind == "measured":
                        rows.setdefault((row.label, regime.rstrip(")")), {}).update(_values(row))
        for (label, regime), cells in rows.items():
            found = {metric: _nearest(cells, name, prefix) for metric, name in wanted.items()}
            if any(record is not None for record in found.values()):
                yield {
                    "label": label,
                    "href": anchor,
                    "where": ", ".join(filter(None, (board.dataset, board.split, board.protocol, regime))),
                    "cells": [_cell(record, wanted[metric]) for metric, record in found.items()],
                }


def _values(row: Row) -> dict[str, Record]:
    return {metric: record for metric, record in row.cells.items() if record.value is not None}


def _nearest(cells: Mapping[str, Record], name: str, prefix: str) -> Record | None:
    """The record of a metric: by its name after `prefix`, with a qualifier in brackets, or an equivalent's."""
    for base in EQUIVALENTS.get(name, (name,)):
        for metric, record in cells.items():
            if metric == prefix + base or metric.startswith(f"{prefix}{base} ("):
                return record
    return None


def _cell(record: Record | None, name: str) -> dict[str, str]:
    if record is None or record.value is None:
        return {"text": "", "metric": "", "title": "not measured"}
    text = number(record.value, decimals([record.value]))
    return {"text": text, "metric": "" if record.metric == name else record.metric, "title": f"n = {record.n:,}"}
