"""Which values may be compared: boards, their tables, and the rows of these."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import MappingProxyType

from leaderboard.record import Kind, Record
from leaderboard.store import TaskCard, card_of
from leaderboard.tables.pairwise import NOTHING, Comparisons
from leaderboard.tables.ranking import Standing, standings, trained_against

ANCHOR_ORDER = ("real", "reconstruction", "training copy", "nearest neighbour", "shuffled", "constant")
_BREAKDOWN = re.compile(r"^(?P<group>[^:]+): (?P<item>.+?)(?: \((?P<modality>image|report)\))?$")


@dataclass(frozen=True)
class Breakdown:
    """The parts of a metric's name that marks one item of a group: `prevalence: left effusion (image)`."""

    group: str
    item: str
    modality: str | None


def breakdown(metric: str) -> Breakdown | None:
    """Splits `group: item (modality)`; None for a metric that stands for itself."""
    match = _BREAKDOWN.match(metric)
    return Breakdown(match["group"], match["item"], match["modality"]) if match else None


@dataclass(frozen=True)
class Row:
    """One line of a table: one system on one data set, split and protocol, with its records by metric (of one task)."""

    label: str
    kind: Kind
    cells: Mapping[str, Record]

    @property
    def first(self) -> Record:
        return next(iter(self.cells.values()))


@dataclass(frozen=True)
class Table:
    """One task on one board. `metrics` are the columns, those that rank first; `details` those of breakdowns."""

    task: str
    card: TaskCard
    rows: list[Row]
    metrics: list[str]
    details: list[str] = field(default_factory=list)
    comparisons: Comparisons = NOTHING

    def column(self, metric: str) -> dict[str, Record]:
        """The records of one metric by row label."""
        return {row.label: row.cells[metric] for row in self.rows if metric in row.cells}

    def standings(self, metric: str) -> dict[str, Standing]:
        """Places and groups within one column."""
        return standings(self.column(metric), self.comparisons.of(metric))


@dataclass(frozen=True)
class Board:
    """What may be compared at all: one data set (name and content), split and protocol."""

    dataset: str
    fingerprint: str
    split: str
    protocol: str
    synthetic: bool
    tables: list[Table]


def boards(
    records: Iterable[Record],
    fingerprints: Mapping[str, str],
    comparisons: Comparisons = NOTHING,
    cards: Mapping[str, TaskCard] = MappingProxyType({}),
) -> list[Board]:
    """Groups measured and anchor records into boards, tasks and rows; reported ones are passed over. `fingerprints`: data
    fingerprint by run id, so that two contents of one name never share a board. `comparisons`: of pairs of systems; those of no
    board here are passed over. `cards`: of tasks, as the manifests state them."""
    groups: dict[tuple[str, str, str, str], dict[str, list[Record]]] = {}
    for record in records:
        if record.kind != "reported":
            key = (record.dataset, fingerprints[record.run], record.split, record.protocol)
            groups.setdefault(key, {}).setdefault(record.task, []).append(record)
    result = []
    for key, by_task in groups.items():
        synthetic = any(record.synthetic for group in by_task.values() for record in group)
        compared = partial(comparisons.on, *key)
        tables = [_table(task, card_of(task, cards), by_task[task], compared(task)) for task in sorted(by_task)]
        result.append(Board(*key, synthetic, sorted(tables, key=lambda table: table.card.order)))
    return result


def _table(task: str, card: TaskCard, records: Sequence[Record], comparisons: Comparisons) -> Table:
    direction = {record.metric: record.higher_is_better for record in records}
    details = [name for name in direction if breakdown(name) is not None]
    metrics = [name for name in direction if breakdown(name) is None]
    metrics.sort(key=lambda name: (trained_against(name), direction[name] is None))
    rows = ordered(rows_of(records), metrics, comparisons)
    return Table(task, card, rows, metrics, details, comparisons)


def rows_of(records: Iterable[Record]) -> list[Row]:
    """Puts the records of one task and board into rows.
    Records of one system (name, kind, seed) share a row where they agree, so that anchors measured again by a second run appear
    once; where they do not, each run has its own row and the label names it."""
    by_run: dict[tuple[Kind, str, int | None, str], dict[str, Record]] = {}
    for record in records:
        by_run.setdefault((record.kind, record.model, record.seed, record.run), {})[record.metric] = record
    by_system: dict[tuple[Kind, str, int | None], list[dict[str, Record]]] = {}
    for (kind, model, seed, _), cells in by_run.items():
        rows = by_system.setdefault((kind, model, seed), [])
        for row in rows:
            shared = row.keys() & cells.keys()
            if shared and all(_same(row[name], cells[name]) for name in shared):
                row |= {name: record for name, record in cells.items() if name not in row}
                break
        else:
            rows.append(dict(cells))
    systems = [(kind, model) for kind, model, _ in by_system]
    result = []
    for (kind, model, seed), rows in by_system.items():
        length = characters_apart([next(iter(cells.values())).run for cells in rows])
        for cells in rows:
            marks = [f"seed {seed}"] if systems.count((kind, model)) > 1 else []
            marks += [f"run {next(iter(cells.values())).run[:length]}"] if len(rows) > 1 else []
            label = f"{model} ({', '.join(marks)})" if marks else model
            if kind == "anchor" and ("measured", model, seed) in by_system:
                label += " (anchor)"
            result.append(Row(label, kind, cells))
    return result


def characters_apart(runs: Sequence[str]) -> int:
    """How many characters of these run ids tell them apart; at least 8."""
    return next(length for length in count(8) if len({run[:length] for run in runs}) == len(set(runs)))


def _same(one: Record, other: Record) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("value", "ci_low", "ci_high", "n", "coverage"))


def ordered(rows: list[Row], metrics: list[str], comparisons: Comparisons) -> list[Row]:
    """Measured rows first, by mean place over the columns that may be ranked (then by name), then the anchors."""
    places: dict[str, list[int]] = {row.label: [] for row in rows}
    for metric in metrics:
        column = {row.label: row.cells[metric] for row in rows if metric in row.cells}
        for label, standing in standings(column, comparisons.of(metric)).items():
            places[label].append(standing.place)

    def key(row: Row) -> tuple[bool, float, int, str]:
        mean = sum(places[row.label]) / len(places[row.label]) if places[row.label] else float("inf")
        name = row.first.model
        anchor = ANCHOR_ORDER.index(name) if name in ANCHOR_ORDER else len(ANCHOR_ORDER)
        return (row.kind != "measured", mean if row.kind == "measured" else 0.0, anchor, row.label)

    return sorted(rows, key=key)
