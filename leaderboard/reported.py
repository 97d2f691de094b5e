"""The numbers that the MeDiM paper prints: as records of kind `reported`, and as tables beside what was measured here."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from leaderboard.record import Record
from leaderboard.tables.boards import Board
from leaderboard.tables.formats import arrow, decimals, direction_of, number

PUBLISHED = Path(__file__).parent / "published"
PAPER = "MeDiM (arXiv 2510.06131)"
CREATED = "2025-10-01T00:00:00+00:00"  # month of the arXiv number; the day does not matter here
# What each table measures: (source in the paper, task of every row or None where the metric decides).
TABLES: dict[str, tuple[str, str | None]] = {
    "table1_mimic_image": ("Table 1", "image-generation"),
    "table2_pathgen_image": ("Table 2", "image-generation"),
    "table3_reports": ("Table 3", "report-generation"),
    "table4_ablation": ("Table 4", None),
    "downstream": ("downstream text and Fig. 5c", "augmentation"),
}
IMAGE_METRICS = ("FID", "IS")
NOTE = "The paper's own number, on its own data and by its own protocol; not measured here and not comparable with what is."
MEASURED_ROWS = 16  # beside one published table
# Where a metric of the paper was not computed under its name, the nearest that was.
EQUIVALENTS = {"FID": ("FID", "Fréchet distance"), "IS": ("Inception Score", "IS")}
DOWNSTREAM = "augmentation"  # whose published numbers are relative gains, by the names of the metrics that gain
RELATIVE = "relative gain over real-repeated in per cent: "


def reported_records() -> list[Record]:
    """Every published number, in the order of the tables (`method,type,dataset,metric,value`). `n`, `coverage` and `seed` are
    None: the paper does not state them. A mean over data sets (`mBLEU-1` of `mean(MIMIC-CXR, PathGen)`) keeps its name."""
    records = []
    for name, (source, task) in TABLES.items():
        with (PUBLISHED / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            records += [_record(row, source, task) for row in csv.DictReader(stream)]
    return records


def _record(row: Mapping[str, str], source: str, task: str | None) -> Record:
    metric = _over_data_sets(row["metric"], row["dataset"])
    return Record(
        task=task or ("image-generation" if metric in IMAGE_METRICS else "report-generation"),
        model=row["method"],
        dataset=row["dataset"].replace(",", ", "),
        split="test",
        metric=row["metric"],
        value=float(row["value"]),
        n=None,
        coverage=None,
        seed=None,
        protocol="paper",
        signature={"source": f"{PAPER}, {source}", "type": row["type"], "note": NOTE},
        kind="reported",
        commit="",
        command="",
        created=CREATED,
        reason=NOTE,
        higher_is_better=metric != "FID",
        synthetic=False,
        run="arXiv-2510.06131",
    )


def _over_data_sets(metric: str, dataset: str) -> str:
    """The metric of which `m...` is the mean over data sets."""
    return metric.removeprefix("m") if dataset.startswith("mean(") else metric


def reported_tables(records: Sequence[Record], boards: Sequence[tuple[str, Board]]) -> list[dict[str, Any]]:
    """One table of the paper at a time: its rows as printed, and rows of the boards that have some of its columns.
    `boards`: with their anchors on the page."""
    tables: dict[tuple[str, str], dict[str, dict[str, Record]]] = {}
    for record in records:
        key = (record.signature["source"], record.dataset)
        tables.setdefault(key, {}).setdefault(record.model, {})[record.metric] = record
    return [_table(source, dataset, methods, boards) for (source, dataset), methods in tables.items()]


def _table(
    source: str, dataset: str, methods: Mapping[str, Mapping[str, Record]], boards: Sequence[tuple[str, Board]]
) -> dict[str, Any]:
    columns: dict[str, list[Record]] = {}
    for cells in methods.values():
        for metric, record in cells.items():
            columns.setdefault(metric, []).append(record)
    # As many digits as the paper prints.
    places = {m: max(len(repr(r.value).partition(".")[2]) for r in column) for m, column in columns.items()}
    tasks = {record.task for column in columns.values() for record in column}
    measured = list(_measured(tasks, {metric: _over_data_sets(metric, dataset) for metric in columns}, boards))
    return {
        "title": f"{source.rpartition(', ')[2]}: {dataset}",
        "source": source,
        "columns": [(metric, arrow(direction_of(column))) for metric, column in columns.items()],
        "rows": [
            (method, [number(cells[m].value or 0.0, places[m]) if m in cells else "" for m in columns])
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
            for row in table.rows if task in tasks else ():
                if row.kind == "measured":
                    values = {metric: record for metric, record in row.cells.items() if record.value is not None}
                    rows.setdefault((row.label, regime.rstrip(")")), {}).update(values)
        for (label, regime), cells in rows.items():
            found = {metric: _nearest(cells, name, prefix) for metric, name in wanted.items()}
            if any(found.values()):
                yield {
                    "label": label,
                    "href": anchor,
                    "where": ", ".join(filter(None, (board.dataset, board.split, board.protocol, regime))),
                    "cells": [_cell(record, wanted[metric]) for metric, record in found.items()],
                }


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
