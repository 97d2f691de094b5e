"""The page: boards, reported numbers, plots and galleries rendered into one self-contained HTML file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from leaderboard.plots.style import Plot, slug
from leaderboard.record import Record
from leaderboard.reported import reported_tables
from leaderboard.site.gallery import Gallery
from leaderboard.site.guide import entries_for
from leaderboard.site.provenance import free, made, signatures
from leaderboard.site.samples import gallery_views, score_behind
from leaderboard.site.verdicts import comparison_rows, seed_rows, verdicts
from leaderboard.store import Run
from leaderboard.tables.boards import Board, Row, Table, breakdown
from leaderboard.tables.formats import AS_STATED, arrow, counts, decimals, direction_of, headline, item_of, number, shares
from leaderboard.tables.ranking import CHANGE, NO_INTERVAL, comparable, trained_against, unranked_because

ANCHORS = {
    "real": "real images and reports: what the data themselves reach",
    "reconstruction": "the case's own image through the tokenizer and back: the ceiling of the model",
    "nearest neighbour": "of some training pairs, the answer of the one nearest to what is given: looking it up",
    "training copy": "pairs of the training set, verbatim: what a model that memorised would give",
    "shuffled": "real answers, each to another case: the floor of chance",
    "constant": "one and the same answer to every case: the floor of a template",
}


@dataclass(frozen=True)
class TableView:
    """One task on one board, with its pictures and samples."""

    table: Table
    plots: list[Plot]
    galleries: list[Gallery]


def render(boards: Sequence[tuple[Board, list[TableView]]], reported: Sequence[Record], runs: Mapping[str, Run]) -> str:
    """The whole page as HTML: no reference leaves the file, except links to the tables that lie beside it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["inline"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode()
    environment.globals.update(number=number, value_text=free)
    site = files("leaderboard.site")
    records = [record for board, _ in boards for table in board.tables for row in table.rows for record in row.cells.values()]
    return environment.from_string(site.joinpath("index.html").read_text("utf-8")).render(
        css=Markup(site.joinpath("style.css").read_text("utf-8")),
        js=Markup(site.joinpath("page.js").read_text("utf-8")),
        boards=[_board(board, views, runs, f"board{i}") for i, (board, views) in enumerate(boards, start=1)],
        reported=reported_tables(reported, [(f"board{i}", board) for i, (board, _) in enumerate(boards, start=1)]),
        guide=entries_for(dict.fromkeys(record.metric for record in records)),
        runs=[run.manifest for run in runs.values()],
        newest=max((record.created for record in records), default=""),
        n_models=len({record.model for record in records if record.kind == "measured"}),
    )


def _board(board: Board, views: Sequence[TableView], runs: Mapping[str, Run], anchor: str) -> dict[str, Any]:
    ours = {r.run for table in board.tables for row in table.rows for r in row.cells.values()}
    manifests = [runs[run].manifest for run in runs if run in ours]
    return {
        "id": anchor,
        "dataset": board.dataset,
        "fingerprint": board.fingerprint,
        "split": board.split,
        "protocol": board.protocol,
        "synthetic": board.synthetic,
        "terms": list(dict.fromkeys(m.terms for m in manifests if m.terms)),
        "tasks": [_task(view, f"{anchor}-{slug(view.table.task)}") for view in views],
    }


def _task(view: TableView, anchor: str) -> dict[str, Any]:
    table = view.table
    notes: dict[str, int] = {}
    columns = [_column(table, metric) for metric in table.metrics]
    galleries = gallery_views(view.galleries, table, anchor)
    reasons = {g["withheld"] for g in galleries}
    withheld = reasons.pop() if len(reasons) == 1 else None  # one line where no system shows anything
    samples = {} if withheld else {(g["run"], g["system"]): g for g in galleries}
    how = made(table)
    rows = [_row(row, table.metrics, columns, notes, samples, _command_of(row, how)) for row in table.rows]
    return {
        "id": anchor,
        "title": table.card.title,
        "intro": table.card.intro,
        "columns": columns,
        "models": [row for row in rows if row["kind"] == "measured"],
        "anchors": [row for row in rows if row["kind"] == "anchor"],
        "notes": [(number, text) for text, number in notes.items()],
        "remarks": _remarks(table),
        "verdicts": verdicts(table),
        "comparisons": comparison_rows(table),
        "seeds": seed_rows(table),
        "details": _details(table),
        "plots": view.plots,
        "made": how,
        "signatures": [signatures(table, metric) for metric in table.metrics],
        "detail_signatures": [signatures(table, metric) for metric in table.details],
        "galleries": galleries,
        "withheld": withheld,
    }


def _column(table: Table, metric: str) -> dict[str, Any]:
    column = table.column(metric)
    direction = direction_of(column.values())
    return {
        "name": metric,
        "arrow": arrow(direction),
        "direction": {True: "higher is better", False: "lower is better", None: "descriptive"}[direction],
        "places": decimals(record.value for record in column.values()),
        "standings": table.standings(metric),
        "unranked": trained_against(metric),
    }


def _row(
    row: Row,
    metrics: Sequence[str],
    columns: Sequence[dict[str, Any]],
    notes: dict[str, int],
    samples: Mapping[tuple[str, str], Mapping[str, Any]],
    command: int,
) -> dict[str, Any]:
    gallery = samples.get((row.first.run, row.first.model))
    shown = headline(row, metrics)
    return {
        "label": row.label,
        "kind": row.kind,
        "explained": ANCHORS.get(row.first.model, "") if row.kind == "anchor" else "",
        "href": gallery["id"] if gallery else None,
        "command": command,
        "n": counts(shown),
        "fewest": min((record.n for record in shown if record.n is not None), default=""),
        "coverage": shares(shown),
        "lowest": min((record.coverage for record in shown if record.coverage is not None), default=""),
        "partial": any(record.coverage is not None and record.coverage < 1 for record in shown),
        "cells": [
            _cell(row, metric, column, notes) | {"score": score_behind(metric, gallery["scores"]) if gallery else ""}
            for metric, column in zip(metrics, columns, strict=True)
        ],
    }


def _command_of(row: Row, made: Sequence[Mapping[str, Any]]) -> int:
    """The place, from 1, of the command that made a row's first value."""
    key = (row.first.run, row.first.command, row.first.commit)
    return 1 + next(i for i, entry in enumerate(made) if (entry["run"], entry["command"], entry["commit"]) == key)


def _cell(row: Row, metric: str, column: Mapping[str, Any], notes: dict[str, int]) -> dict[str, Any]:
    record = row.cells.get(metric)
    if record is None:
        return {"state": "absent"}
    facts = f"n = {record.n:,}" if record.n is not None else "n not stated"
    if record.coverage is not None:
        facts += f", coverage {shares([record])}"
    if record.value is None:
        reason = record.reason or ""
        return {"state": "withheld", "reason": reason, "note": notes.setdefault(reason, len(notes) + 1), "facts": facts}
    standing = column["standings"].get(row.label)
    places = column["places"]
    interval = None
    if record.ci_low is not None and record.ci_high is not None:
        interval = f"{number(record.ci_low, places)} \N{EN DASH} {number(record.ci_high, places)}"
    return {
        "state": "value",
        "text": number(record.value, places),
        "sort": repr(record.value),
        "interval": interval,
        "facts": facts,
        "best": standing.best if standing else False,
        "alone": standing.alone if standing else False,
        "letters": standing.letters if standing else "",
        "unverified": bool(record.unverified),
    }


def _remarks(table: Table) -> list[str]:
    """What a reader must know about the ranking of this table."""
    remarks = []
    measured = [row for row in table.rows if row.kind == "measured"]
    if len(measured) < 2:
        remarks.append("One model measured: there is nothing to rank.")
    if any(trained_against(metric) for metric in table.metrics):
        remarks.append("\N{DAGGER} A feature space that image tokenizers are trained against: shown, not ranked.")
    if any(record.unverified for row in table.rows for record in row.cells.values()):
        remarks.append(AS_STATED)
    if any(metric.startswith(CHANGE) for metric in table.metrics):
        remarks.append("A change is against a base, which has none itself: shown, not ranked.")
    reasons: dict[str, list[str]] = {}
    unsure: dict[str, None] = {}
    for row in measured:
        for metric in table.metrics:
            record = row.cells.get(metric)
            if record is None or record.value is None or record.higher_is_better is None:
                continue
            reason = unranked_because(record)
            if reason == NO_INTERVAL:
                unsure.setdefault(metric)
            elif reason and not trained_against(metric) and not metric.startswith(CHANGE):
                reasons.setdefault(reason, []).append(row.label)
    remarks += [f"Not ranked: {', '.join(dict.fromkeys(labels))} ({reason})." for reason, labels in reasons.items()]
    if unsure and len(measured) > 1:
        remarks.append(f"Not ranked, for want of an interval: {', '.join(unsure)}.")
    other = [
        label
        for metric in table.metrics
        if (column := {row.label: row.cells[metric] for row in measured if metric in row.cells})
        for label, record in column.items()
        if unranked_because(record) is None and label not in comparable(column)
    ]
    if other:
        remarks.append(
            f"Measured otherwise than the rest (another n or signature), so not ranked: {', '.join(dict.fromkeys(other))}."
        )
    return remarks


def _details(table: Table) -> list[dict[str, Any]]:
    groups: dict[str, list[str]] = {}
    for metric in table.details:
        part = breakdown(metric)
        if part:
            groups.setdefault(part.group, []).append(metric)
    result = []
    for group, metrics in groups.items():
        columns = {metric: table.column(metric) for metric in metrics}
        systems = [row.label for row in table.rows if any(row.label in column for column in columns.values())]
        values = [record.value for column in columns.values() for record in column.values()]
        shaded = all(value is None or 0 <= value <= 1 for value in values)
        result.append(
            {
                "group": group,
                "item": item_of(group),
                "systems": systems,
                "arrow": arrow(direction_of(record for column in columns.values() for record in column.values())),
                "rows": [
                    (metric.removeprefix(f"{group}: "), [_detail(columns[metric].get(system), shaded) for system in systems])
                    for metric in metrics
                ],
            }
        )
    return result


def _detail(record: Record | None, shaded: bool) -> dict[str, Any]:
    if record is None or record.value is None:
        return {"text": "\N{EN DASH}", "title": record.reason if record else "not measured", "shade": None}
    interval = f"{free(record.ci_low)} to {free(record.ci_high)}, " if record.ci_low is not None else ""
    stated = ", unverified" if record.unverified else ""
    return {
        "text": number(record.value, 3) + ("\N{DOUBLE DAGGER}" if stated else ""),
        "title": f"{interval}n = {record.n:,}{stated}",
        "shade": round(record.value, 3) if shaded else None,
    }
