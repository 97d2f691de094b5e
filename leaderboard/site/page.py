"""The page: boards, reported numbers, plots and galleries rendered into one self-contained HTML file."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from leaderboard.plots.style import Plot, slug
from leaderboard.record import Record
from leaderboard.reported import reported_tables
from leaderboard.site.gallery import Gallery, of_rows, score_behind
from leaderboard.site.verdicts import p_text, pair_rows, verdicts
from leaderboard.store import Run
from leaderboard.tables.boards import Board, Row, Table, breakdown
from leaderboard.tables.formats import (
    AS_STATED,
    arrow,
    blanks,
    columns_of,
    counts,
    decimals,
    direction_of,
    headline,
    item_of,
    number,
    shares,
)
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
    environment.filters.update(inline=lambda png: "data:image/png;base64," + base64.b64encode(png).decode(), number=number)
    environment.filters.update(arrow=arrow, counts=counts, decimals=decimals, p_text=p_text, shares=shares, free=free)
    site = files("leaderboard.site")
    text = {name: site.joinpath(name).read_text("utf-8") for name in ("index.html", "style.css", "page.js")}
    records = [record for board, _ in boards for table in board.tables for row in table.rows for record in row.cells.values()]
    anchored = [(f"board{i}", board, views) for i, (board, views) in enumerate(boards, start=1)]
    return environment.from_string(text["index.html"]).render(
        css=text["style.css"],
        js=text["page.js"],
        boards=[_board(board, views, runs, anchor) for anchor, board, views in anchored],
        reported=reported_tables(reported, [(anchor, board) for anchor, board, _ in anchored]),
        guide=guide_entries(dict.fromkeys(record.metric for record in records)),
        runs=[run.manifest for run in runs.values()],
        newest=max((record.created for record in records), default=""),
        n_models=len({record.model for record in records if record.kind == "measured"}),
        explained=ANCHORS,
        trained_against=trained_against,
    )


def free(value: float | None) -> str:
    """A value by itself, with four significant digits."""
    return "" if value is None else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def guide_entries(metrics: Iterable[str]) -> list[dict[str, str]]:
    """The explanations of `guide.json` whose regular expression `pattern` matches one of some metrics."""
    names = list(metrics)
    entries: list[dict[str, str]] = json.loads(files("leaderboard.site").joinpath("guide.json").read_text("utf-8"))
    return [entry for entry in entries if any(re.search(entry["pattern"], name) for name in names)]


def _board(board: Board, views: Sequence[TableView], runs: Mapping[str, Run], anchor: str) -> dict[str, Any]:
    ours = {r.run for table in board.tables for row in table.rows for r in row.cells.values()}
    return {
        "id": anchor,
        "board": board,
        "terms": list(dict.fromkeys(terms for run in runs if run in ours and (terms := runs[run].manifest.terms))),
        "tasks": [_task(view, f"{anchor}-{slug(view.table.task)}") for view in views],
    }


def _task(view: TableView, anchor: str) -> dict[str, Any]:
    table = view.table
    placed = enumerate(of_rows(view.galleries, table.rows), start=1)
    galleries = [(f"{anchor}-samples{number}", row, gallery) for number, (row, gallery) in placed]
    reasons = {gallery.withheld for *_, gallery in galleries}
    withheld = reasons.pop() if len(reasons) == 1 else None  # one line where no system shows anything
    linked = {row.label: (name, gallery.scores) for name, row, gallery in galleries if not withheld}
    how = _commands(table)
    return {
        "id": anchor,
        "table": table,
        "columns": columns_of(table),
        "rows": [_row(row, table.metrics, linked, how) for row in table.rows],
        "notes": blanks(table),
        "remarks": _remarks(table),
        "verdicts": verdicts(table),
        "pairs": list(pair_rows(table)),
        "details": _details(table),
        "plots": view.plots,
        "commands": how,
        "signatures": [_signatures(table, metric) for metric in table.metrics],
        "detail_signatures": [_signatures(table, metric) for metric in table.details],
        "galleries": galleries,
        "withheld": withheld,
    }


def _row(
    row: Row, metrics: Sequence[str], linked: Mapping[str, tuple[str, list[str]]], how: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    href, scores = linked.get(row.label, ("", []))
    key = (row.first.run, row.first.command, row.first.commit)
    return {
        "row": row,
        "shown": headline(row, metrics),
        "href": href,
        "scores": {metric: score_behind(metric, scores) for metric in metrics},
        "command": 1 + next(i for i, entry in enumerate(how) if entry["key"] == key),
    }


def _commands(table: Table) -> list[dict[str, Any]]:
    """The run, command and commit behind each row, and the date of their newest value."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in table.rows:
        for record in row.cells.values():
            key = (record.run, record.command, record.commit)
            entry = found.setdefault(key, {"key": key, "first": record, "created": "", "systems": {}})
            entry["systems"][row.label] = None
            entry["created"] = max(entry["created"], record.created)
    return list(found.values())


def _signatures(table: Table, metric: str) -> dict[str, Any]:
    """The signatures of one column; systems that share one stand together."""
    groups: dict[str, dict[str, Record]] = {}
    for label, record in table.column(metric).items():
        text = json.dumps(record.signature, indent=2, sort_keys=True, ensure_ascii=False)
        groups.setdefault(text, {})[label] = record
    return {"metric": metric, "groups": groups}


def _remarks(table: Table) -> list[str]:
    """What a reader must know about the ranking of this table."""
    remarks = []
    measured = [row for row in table.rows if row.kind == "measured"]
    rankable = [metric for metric in table.metrics if not trained_against(metric) and not metric.startswith(CHANGE)]
    if len(measured) < 2:
        remarks.append("One model measured: there is nothing to rank.")
    if any(map(trained_against, table.metrics)):
        remarks.append("\N{DAGGER} A feature space that image tokenizers are trained against: shown, not ranked.")
    if any(record.unverified for row in table.rows for record in row.cells.values()):
        remarks.append(AS_STATED)
    if any(metric.startswith(CHANGE) for metric in table.metrics):
        remarks.append("A change is against a base, which has none itself: shown, not ranked.")
    reasons: dict[str, dict[str, None]] = {}  # labels by reason, without doubles
    unsure: dict[str, None] = {}
    otherwise: dict[str, None] = {}
    for metric in table.metrics:
        column = {row.label: row.cells[metric] for row in measured if metric in row.cells}
        alike = comparable(column)
        for label, record in column.items():
            reason = unranked_because(record)
            if reason is None:
                otherwise |= {} if label in alike else {label: None}
            elif reason == NO_INTERVAL:
                unsure.setdefault(metric)
            elif record.value is not None and record.higher_is_better is not None and metric in rankable:
                reasons.setdefault(reason, {}).setdefault(label)
    remarks += [f"Not ranked: {', '.join(labels)} ({reason})." for reason, labels in reasons.items()]
    if unsure and len(measured) > 1:
        remarks.append(f"Not ranked, for want of an interval: {', '.join(unsure)}.")
    if otherwise:
        remarks.append(f"Measured otherwise than the rest (another n or signature), so not ranked: {', '.join(otherwise)}.")
    return remarks


def _details(table: Table) -> list[dict[str, Any]]:
    """Breakdowns, one table a group: a row for each item, a column for each system that has values of it."""
    groups: dict[str, dict[str, dict[str, Record]]] = {}
    for metric in table.details:
        if part := breakdown(metric):
            groups.setdefault(part.group, {})[metric.removeprefix(f"{part.group}: ")] = table.column(metric)
    result = []
    for group, items in groups.items():
        records = [record for column in items.values() for record in column.values()]
        result.append(
            {
                "group": group,
                "item": item_of(group),
                "arrow": arrow(direction_of(records)),
                "systems": [row.label for row in table.rows if any(row.label in column for column in items.values())],
                "shaded": all(record.value is None or 0 <= record.value <= 1 for record in records),
                "items": items,
            }
        )
    return result
