"""Which values may be compared, and what the comparison says: rows, places, ties."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from leaderboard.record import Kind, Record

MINIMUM_N = 100
# A feature space that a model was trained against flatters it. EfficientNet-Lite0 is the perceptual loss of the image
# tokenizer, so its columns are shown and never ranked.
TRAINED_AGAINST = ("EfficientNet-Lite0",)
ANCHOR_ORDER = ("real", "reconstruction", "training copy", "nearest neighbour", "shuffled", "constant")
# What a signature says of the system itself or of the interval; the rest must be equal for two values to be compared.
OF_THE_SYSTEM = frozenset({"interval", "model", "settings", "tokenizer_of"})
TASK_ORDER = ("image-generation", "report-generation", "joint-generation")
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
class Standing:
    """Where a cell stands in its column.

    Attributes:
        place: 1-based place by value among the cells that may be ranked.
        best: not separable from the best value: its interval overlaps that of the best (or it is the best).
        alone: best, and no other cell's interval overlaps its own.
    """

    place: int
    best: bool
    alone: bool


@dataclass(frozen=True)
class Table:
    """One task on one board. `metrics` are the columns, those that rank first; `details` those of breakdowns."""

    task: str
    rows: list[Row]
    metrics: list[str]
    details: list[str] = field(default_factory=list)

    def column(self, metric: str) -> dict[str, Record]:
        """The records of one metric by row label."""
        return {row.label: row.cells[metric] for row in self.rows if metric in row.cells}


@dataclass(frozen=True)
class Board:
    """What may be compared at all: one data set (name and content), split and protocol."""

    dataset: str
    fingerprint: str
    split: str
    protocol: str
    synthetic: bool
    tables: list[Table]


def boards(records: Iterable[Record], fingerprints: Mapping[str, str]) -> list[Board]:
    """Groups measured and anchor records into boards, tasks and rows. Reported records have no board.

    Args:
        records: any records; the reported ones are passed over.
        fingerprints: data fingerprint by run id, so that two contents of one name never share a board.
    """
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        if record.kind != "reported":
            key = (record.dataset, fingerprints[record.run], record.split, record.protocol)
            groups.setdefault(key, []).append(record)
    return [Board(*key, any(r.synthetic for r in group), _tables(group)) for key, group in groups.items()]


def _tables(records: Sequence[Record]) -> list[Table]:
    tasks = sorted({r.task for r in records}, key=lambda t: (TASK_ORDER.index(t) if t in TASK_ORDER else len(TASK_ORDER), t))
    tables = []
    for task in tasks:
        group = [record for record in records if record.task == task]
        names = list(dict.fromkeys(record.metric for record in group))
        direction = {record.metric: record.higher_is_better for record in group}
        metrics = sorted(
            (name for name in names if breakdown(name) is None),
            key=lambda name: (trained_against(name), direction[name] is None),
        )
        details = [name for name in names if breakdown(name) is not None]
        tables.append(Table(task, ordered(rows_of(group), metrics), metrics, details))
    return tables


def rows_of(records: Iterable[Record]) -> list[Row]:
    """Puts the records of one task and board into rows.

    Records of one system (name, kind, seed) share a row where they agree, so that anchors measured again by a second run
    appear once; where they do not, each run has its own row and the label names it.
    """
    by_run: dict[tuple[str, str, int | None, str], dict[str, Record]] = {}
    for record in records:
        by_run.setdefault((record.kind, record.model, record.seed, record.run), {})[record.metric] = record
    by_system: dict[tuple[str, str, int | None], list[dict[str, Record]]] = {}
    for (kind, model, seed, _), cells in by_run.items():
        rows = by_system.setdefault((kind, model, seed), [])
        for row in rows:
            if all(_same(row[name], cells[name]) for name in row.keys() & cells.keys()) and row.keys() & cells.keys():
                row |= {name: record for name, record in cells.items() if name not in row}
                break
        else:
            rows.append(dict(cells))
    seeds: dict[tuple[str, str], set[int | None]] = {}
    for kind, model, seed in by_system:
        seeds.setdefault((kind, model), set()).add(seed)
    result = []
    for (kind, model, seed), rows in by_system.items():
        for cells in rows:
            first = next(iter(cells.values()))
            marks = [f"seed {seed}"] * (len(seeds[kind, model]) > 1) + [f"run {first.run[:8]}"] * (len(rows) > 1)
            label = f"{model} ({', '.join(marks)})" if marks else model
            if kind == "anchor" and ("measured", model, seed) in by_system:
                label += " (anchor)"
            result.append(Row(label, first.kind, cells))
    return result


def _same(one: Record, other: Record) -> bool:
    return (one.value, one.ci_low, one.ci_high, one.n, one.coverage) == (
        other.value, other.ci_low, other.ci_high, other.n, other.coverage,
    )  # fmt: skip


def ordered(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """Measured rows first, by mean place over the columns that may be ranked (then by name), then the anchors."""
    places: dict[str, list[int]] = {row.label: [] for row in rows}
    for metric in metrics:
        column = {row.label: row.cells[metric] for row in rows if metric in row.cells}
        for label, standing in standings(column).items():
            places[label].append(standing.place)

    def key(row: Row) -> tuple[bool, float, int, str]:
        mean = sum(places[row.label]) / len(places[row.label]) if places[row.label] else float("inf")
        name = row.first.model
        anchor = ANCHOR_ORDER.index(name) if name in ANCHOR_ORDER else len(ANCHOR_ORDER)
        return (row.kind != "measured", mean if row.kind == "measured" else 0.0, anchor, row.label)

    return sorted(rows, key=key)


def trained_against(metric: str) -> bool:
    """Whether a metric uses a feature space that models are trained against."""
    return any(name in metric for name in TRAINED_AGAINST)


def unranked_because(record: Record) -> str | None:
    """Why a record may not be ranked, in words; None where it may."""
    if record.kind == "reported":
        return "reported by the paper, not measured here"
    if record.kind == "anchor":
        return "an anchor, not a model"
    if record.value is None:
        return record.reason
    if record.higher_is_better is None:
        return "descriptive: neither high nor low is better"
    if record.coverage is None or record.coverage < 1:
        return (
            f"coverage {record.coverage:.1%}: ranking needs every case" if record.coverage is not None else "coverage unknown"
        )
    if record.n is None or record.n < MINIMUM_N:
        return f"{record.n} cases: ranking needs {MINIMUM_N}"
    if trained_against(record.metric):
        return "a feature space that image tokenizers are trained against: shown, not ranked"
    return None


def measure(record: Record) -> str:
    """What has to be equal for two values of a metric to be compared: `n`, and the signature without the system's own part."""
    shared = {name: value for name, value in record.signature.items() if name not in OF_THE_SYSTEM}
    return json.dumps([record.n, shared], sort_keys=True, ensure_ascii=False)


def comparable(column: Mapping[str, Record]) -> dict[str, Record]:
    """The cells of a column that are ranked against each other: those that may be, of the most common `measure`."""
    able = {label: record for label, record in column.items() if unranked_because(record) is None}
    measures = [(measure(record), record.n or 0) for record in able.values()]
    common = max(measures, key=lambda m: (measures.count(m), m[1], m[0]), default=("", 0))[0]
    return {label: record for label, record in able.items() if measure(record) == common}


def standings(column: Mapping[str, Record]) -> dict[str, Standing]:
    """Places within one column (one metric of one board); none where fewer than two cells are `comparable`.

    A cell without an interval counts as a point.
    """
    able = comparable(column)
    if len(able) < 2:
        return {}
    sign = -1 if next(iter(able.values())).higher_is_better else 1
    order = sorted(able, key=lambda label: (sign * _value(able[label]), label))
    tied = {label for label in order if overlap(able[label], able[order[0]])}
    values = [_value(able[label]) for label in order]
    return {
        label: Standing(place=1 + values.index(_value(able[label])), best=label in tied, alone=tied == {label})
        for label in order
    }


def overlap(one: Record, other: Record) -> bool:
    """Whether two values are not separable: their intervals share a point. A missing interval is the value itself."""
    low = max(_value(r) if r.ci_low is None else r.ci_low for r in (one, other))
    high = min(_value(r) if r.ci_high is None else r.ci_high for r in (one, other))
    return low <= high


def _value(record: Record) -> float:
    if record.value is None:
        raise ValueError(f"{record.metric} of {record.model} has no value")
    return record.value
