"""Every arm of an ablation with its values, its changes, and what the paper found of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.ablation.arms import Arm
from benchmark.ablation.paper import COLUMNS, Column, paper_changes, paper_summary, paper_verdict
from benchmark.ablation.stored import Measured, Trained
from tasks.ablation import (
    ENDPOINTS,
    PRIMARY,
    Change,
    Endpoint,
    Sign,
    Value,
    Verdict,
    change_of_trainings,
    change_of_values,
    comparable,
    sign,
    value_over_seeds,
)
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import Interval


@dataclass(frozen=True)
class Row:
    """One arm.

    Attributes:
        values, changes: by metric of `ENDPOINTS` or label of `COLUMNS`; a column that could not be had is missing.
        reasons: why a value or a change is missing, by the same names.
        paper: the paper's change by label of `COLUMNS`; empty where it has no such row.
        signs: ours against the paper's, by label; the primary endpoint's is against the paper's columns together.
        paper_words: the paper's columns counted, such as "worse in 7 of 7".
        cost: parameters, steps, pairs_seen, tokens_seen; seconds of training, the mean over seeds.
    """

    arm: Arm
    seeds: tuple[int, ...]
    values: Mapping[str, Value]
    changes: Mapping[str, Change]
    reasons: Mapping[str, str]
    paper: Mapping[str, float]
    signs: Mapping[str, Sign]
    paper_words: str
    cost: Mapping[str, float]


@dataclass
class _Found:
    values: dict[str, Value] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def compared(measured: Sequence[Measured]) -> list[Row]:
    """The arms that have at least one seed, in their order."""
    by_name = {one.arm.name: one for one in measured if one.seeds}
    return [_row(one, by_name.get(one.arm.base) if one.arm.base is not None else None) for one in by_name.values()]


def _row(one: Measured, base: Measured | None) -> Row:
    found = _Found()
    for endpoint in ENDPOINTS:
        _endpoint(found, endpoint, one, base)
    for column in COLUMNS:
        _column(found, column, one, base)
    changes = {} if one.arm.paper is None else paper_changes(one.arm.paper)
    paper = {column.label: changes[column.paper] for column in COLUMNS if column.paper in changes}
    said, words = paper_summary(changes)
    signs: dict[str, Sign] = {}
    for column in COLUMNS:
        if column.label in paper and column.label in found.changes:
            theirs = paper_verdict(paper[column.label], column.higher_is_better)
            signs[column.label] = sign(found.changes[column.label].verdict, theirs)
    if paper and PRIMARY.metric in found.changes:
        signs[PRIMARY.metric] = sign(found.changes[PRIMARY.metric].verdict, said)
    return Row(
        one.arm, tuple(one.seeds), found.values, found.changes, found.reasons, paper, signs, words, _cost(one),
    )  # fmt: skip


def _cost(one: Measured) -> dict[str, float]:
    costs = [trained.evaluation["training"] for trained in one.seeds.values()]
    seconds = [cost["seconds_of_last_sitting"] for cost in costs]
    same = {key: costs[0][key] for key in ("parameters", "steps", "pairs_seen", "tokens_seen")}
    return {**same, "seconds_of_last_sitting": sum(seconds) / len(seconds)}


def _endpoint(found: _Found, endpoint: Endpoint, one: Measured, base: Measured | None) -> None:
    mine = {seed: endpoint.additive(trained.evaluation) for seed, trained in one.seeds.items()}
    found.values[endpoint.metric] = value_over_seeds(mine)
    if base is None:
        return
    reason = comparable(endpoint, one.first.evaluation, base.first.evaluation)
    if reason is not None:
        found.reasons[endpoint.metric] = reason
        return
    theirs = {seed: endpoint.additive(trained.evaluation) for seed, trained in base.seeds.items()}
    _note(found, endpoint.metric, change_of_trainings((one.arm.name, base.arm.name), mine, theirs, higher_is_better=False))


def _column(found: _Found, column: Column, one: Measured, base: Measured | None) -> None:
    metric = _metric_of(column, one)
    if metric is None:
        reasons = [trained.records[column.task, name].reason for trained in one.seeds.values() for name in column.metrics
                   if (column.task, name) in trained.records]  # fmt: skip
        if reasons:
            found.reasons[column.label] = str(reasons[0])
        return
    mine, sums = _values(one, column.task, metric), _sums(one, column.task, metric)
    if len(sums) == len(mine):
        found.values[column.label] = value_over_seeds(sums)
    else:
        mean = sum(mine.values()) / len(mine)
        found.values[column.label] = Value(mean, Interval(reason="a distribution's metric: no interval over patients"), mine)
    if base is None or _metric_of(column, base) != metric:
        return
    theirs = _sums(base, column.task, metric)
    if len(sums) == len(mine) and theirs:
        _note(found, column.label, change_of_trainings((one.arm.name, base.arm.name), sums, theirs, column.higher_is_better))
    else:
        against = _values(base, column.task, metric)
        _note(found, column.label, change_of_values(mine, against, column.higher_is_better))


def _note(found: _Found, name: str, change: Change | None) -> None:
    if change is None:
        found.reasons[name] = "no seed in common with its base"
    elif math.isfinite(change.difference):
        found.changes[name] = change


def _metric_of(column: Column, one: Measured) -> str | None:
    """The first of the column's metrics that has a value for every sampled seed."""
    for name in column.metrics:
        if _values(one, column.task, name):
            return name
    return None


def _values(one: Measured, task: str, metric: str) -> dict[int, float]:
    found = {seed: trained.records.get((task, metric)) for seed, trained in one.seeds.items()}
    return {seed: record.value for seed, record in found.items() if record is not None and record.value is not None}


def _sums(one: Measured, task: str, metric: str) -> dict[int, Additive]:
    result: dict[int, Additive] = {}
    for seed, trained in one.seeds.items():
        if (additive := _additive(trained, task, metric)) is not None:
            result[seed] = additive
    return result


def _additive(trained: Trained, task: str, metric: str) -> Additive | None:
    record = trained.records.get((task, metric))
    return None if record is None or record.value is None else trained.sums(record)


def verdict_of(row: Row) -> Verdict | None:
    """By the primary endpoint; None of an arm that is compared with none."""
    found = row.changes.get(PRIMARY.metric)
    return None if found is None else found.verdict
