"""What an ablation left on disk, read again and compared: every arm's values, its changes, and what the paper found of it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.ablation.arms import FULL, Arm
from benchmark.ablation.changes import (
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
from benchmark.ablation.plan import EVALUATION, RUN, Job, Plan
from benchmark.run.stored_sums import SIGNATURE, read_statistics
from leaderboard.record import Record, read_records
from leaderboard.reported import reported_records
from medim.common.errors import UserError
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import Interval

FULL_ROW = "MeDiM"


@dataclass(frozen=True)
class Column:
    """One column of the generation table."""

    label: str  # short, as the paper writes it
    task: str  # whose metric it is
    metrics: tuple[str, ...]  # names of the metric here, the first that has a value counts
    paper: str | None  # its name in the published table; None for a column that the paper lacks
    higher_is_better: bool = True  # in the paper's sense


COLUMNS = (
    Column("mB-1", "report-generation", ("BLEU-1",), "mBLEU-1"),
    Column("mB-2", "report-generation", ("BLEU-2",), "mBLEU-2"),
    Column("mB-3", "report-generation", ("BLEU-3",), "mBLEU-3"),
    Column("mMTR", "report-generation", ("METEOR",), "mMETEOR"),
    Column("mR-L", "report-generation", ("ROUGE-L",), "mROUGE-L"),
    Column("mFID", "image-generation", ("Fréchet distance (EfficientNet-Lite0)",), "mFID", False),
    Column("mIS", "image-generation", ("IS (EfficientNet-Lite0 logits)", "IS (EfficientNet-Lite0 logits, whole set)"), "mIS"),
    Column("finding F1, reports", "report-generation", ("macro finding F1",), None),
    Column("finding F1, images", "image-generation", ("macro finding F1",), None),
    Column("joint agreement", "joint-generation", ("joint agreement",), None),
)
EQUIVALENTS = (
    "mFID and mIS stand here for the Fréchet distance and the inception score in EfficientNet-Lite0's features and logits: "
    "their sizes cannot be held against the paper's. An inception score also rises where images blend what no image holds "
    "together: its sign is to be read beside the others and the pictures."
)


def table4() -> dict[str, dict[str, float]]:
    """The published Table 4: values by row and metric."""
    rows: dict[str, dict[str, float]] = {}
    for record in reported_records():
        if record.signature["type"] == "ablation" and record.value is not None:
            rows.setdefault(record.model, {})[record.metric] = record.value
    return rows


def paper_changes(row: str) -> dict[str, float]:
    """What the paper found of a row: its value less the full model's, by metric; empty of a row that is not there."""
    rows = table4()
    return {metric: value - rows[FULL_ROW][metric] for metric, value in rows.get(row, {}).items() if row != FULL_ROW}


def paper_verdict(difference: float, higher_is_better: bool) -> Verdict:
    """The paper gives no intervals: any change has a sign."""
    if difference == 0:
        return "not resolved"
    return "better" if (difference > 0) == higher_is_better else "worse"


def paper_summary(changes: Mapping[str, float]) -> tuple[Verdict, str]:
    """Over all columns: one verdict where they agree, and the count in words; of no row `not resolved` and nothing."""
    of = {column.paper: column.higher_is_better for column in COLUMNS if column.paper is not None}
    found = [paper_verdict(difference, of[metric]) for metric, difference in changes.items()]
    if not found:
        return "not resolved", ""
    worse, better = found.count("worse"), found.count("better")
    together: Verdict = "worse" if worse == len(found) else "better" if better == len(found) else "not resolved"
    return together, f"worse in {worse} of {len(found)}" if worse >= better else f"better in {better} of {len(found)}"


METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Trained:
    """One trained and measured arm with one seed."""

    job: Job
    evaluation: Mapping[str, Any]  # `evaluation.json`
    run: Path | None  # folder of its samples and their scores; None where they are not wanted or not done

    @cached_property
    def curve(self) -> list[dict[str, float]]:
        """The lines of `metrics.jsonl`."""
        path = self.job.folder / METRICS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]

    @cached_property
    def records(self) -> dict[tuple[str, str], Record]:
        """What was measured of the samples, by task and metric."""
        if self.run is None:
            return {}
        return {(r.task, r.metric): r for r in read_records(self.run / "records.jsonl") if r.kind == "measured"}

    def sums(self, record: Record) -> Additive | None:
        """The sums by patient behind a record; None of a metric that is no function of such."""
        where = record.signature.get(SIGNATURE)
        if where is None or self.run is None:
            return None
        return read_statistics(self.run / where["file"])[where["key"]].additive


@dataclass(frozen=True)
class Measured:
    """An arm with what is done of it, by seed; `seeds` may be empty."""

    arm: Arm
    seeds: Mapping[int, Trained]

    @property
    def first(self) -> Trained:
        return next(iter(self.seeds.values()))


def read_plan(plan: Plan, fingerprint: str) -> list[Measured]:
    """All arms of a plan, each with the seeds that are trained and measured as planned.
    Raises UserError: a folder holds another training, or a damaged file."""
    return [
        Measured(arm, {job.seed: found for job in plan.jobs_of(arm.name) if (found := _read(job, fingerprint)) is not None})
        for arm in plan.arms
    ]


def _read(job: Job, fingerprint: str) -> Trained | None:
    missing = job.missing(fingerprint)
    path = job.folder / EVALUATION
    if "training" in missing or "evaluation" in missing or not path.is_file():
        return None
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        if evaluation["settings"] != asdict(job.evaluation):
            return None
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it, it is measured again") from error
    sampled = job.generation is not None and "generation" not in missing
    return Trained(job, evaluation, job.folder / RUN if sampled else None)


@dataclass
class Row:
    arm: Arm
    seeds: tuple[int, ...]
    cost: Mapping[str, float]  # parameters, steps, pairs_seen, tokens_seen; seconds of training, the mean over seeds
    # values, changes: by metric of `ENDPOINTS` or label of `COLUMNS`; a column that could not be had is missing
    values: dict[str, Value] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # why a value or a change is missing, by the same names
    # the paper's change by label of `COLUMNS`; empty where it has no such row
    paper: Mapping[str, float] = field(default_factory=dict)
    # ours against the paper's, by label; the primary endpoint's is against the paper's columns together
    signs: dict[str, Sign] = field(default_factory=dict)
    paper_words: str = ""  # the paper's columns counted, such as "worse in 7 of 7"

    @property
    def label(self) -> str:
        """The arm's title, with its base where that is not the full model."""
        return self.arm.title if self.arm.base in (None, FULL) else f"{self.arm.title} (to {self.arm.base})"

    def note(self, name: str, change: Change | None) -> None:
        """Keeps a change, or why there is none."""
        if change is None:
            self.reasons[name] = "no seed in common with its base"
        elif math.isfinite(change.difference):
            self.changes[name] = change


def compared(measured: Sequence[Measured]) -> list[Row]:
    """The arms that have at least one seed, in their order."""
    by_name = {one.arm.name: one for one in measured if one.seeds}
    return [_row(one, by_name.get(one.arm.base) if one.arm.base is not None else None) for one in by_name.values()]


def _row(one: Measured, base: Measured | None) -> Row:
    row = Row(one.arm, tuple(one.seeds), _cost(one))
    for endpoint in ENDPOINTS:
        _endpoint(row, endpoint, one, base)
    for column in COLUMNS:
        _column(row, column, one, base)
    published = {} if one.arm.paper is None else paper_changes(one.arm.paper)
    row.paper = {column.label: published[column.paper] for column in COLUMNS if column.paper in published}
    together, row.paper_words = paper_summary(published)
    for column in COLUMNS:
        if column.label in row.paper and column.label in row.changes:
            theirs = paper_verdict(row.paper[column.label], column.higher_is_better)
            row.signs[column.label] = sign(row.changes[column.label].verdict, theirs)
    if row.paper and PRIMARY.metric in row.changes:
        row.signs[PRIMARY.metric] = sign(row.changes[PRIMARY.metric].verdict, together)
    return row


def _cost(one: Measured) -> dict[str, float]:
    costs = [trained.evaluation["training"] for trained in one.seeds.values()]
    seconds = [cost["seconds_of_last_sitting"] for cost in costs]
    same = {key: costs[0][key] for key in ("parameters", "steps", "pairs_seen", "tokens_seen")}
    return {**same, "seconds_of_last_sitting": sum(seconds) / len(seconds)}


def _endpoint(row: Row, endpoint: Endpoint, one: Measured, base: Measured | None) -> None:
    mine = {seed: endpoint.additive(trained.evaluation) for seed, trained in one.seeds.items()}
    row.values[endpoint.metric] = value_over_seeds(mine)
    if base is None:
        return
    reason = comparable(endpoint, one.first.evaluation, base.first.evaluation)
    if reason is not None:
        row.reasons[endpoint.metric] = reason
        return
    theirs = {seed: endpoint.additive(trained.evaluation) for seed, trained in base.seeds.items()}
    row.note(endpoint.metric, change_of_trainings((one.arm.name, base.arm.name), mine, theirs, higher_is_better=False))


def _column(row: Row, column: Column, one: Measured, base: Measured | None) -> None:
    records = _records(column, one)
    if records is None:
        found = [trained.records.get((column.task, name)) for trained in one.seeds.values() for name in column.metrics]
        if reasons := [str(record.reason) for record in found if record is not None]:
            row.reasons[column.label] = reasons[0]
        return
    mine, sums = _values(records), _sums(one, records)
    if len(sums) == len(mine):
        row.values[column.label] = value_over_seeds(sums)
    else:
        mean = sum(mine.values()) / len(mine)
        row.values[column.label] = Value(mean, Interval(reason="a distribution's metric: no interval over patients"), mine)
    against = None if base is None else _records(column, base)
    if base is None or against is None or _metric(against) != _metric(records):
        return
    theirs = _sums(base, against)
    if len(sums) == len(mine) and theirs:
        row.note(column.label, change_of_trainings((one.arm.name, base.arm.name), sums, theirs, column.higher_is_better))
    else:
        row.note(column.label, change_of_values(mine, _values(against), column.higher_is_better))


def _records(column: Column, one: Measured) -> dict[int, Record] | None:
    """By seed, of the first of the column's metrics that has a value; None where none has."""
    for metric in column.metrics:
        found = {seed: trained.records.get((column.task, metric)) for seed, trained in one.seeds.items()}
        if scored := {seed: record for seed, record in found.items() if record is not None and record.value is not None}:
            return scored
    return None


def _metric(records: Mapping[int, Record]) -> str:
    return next(iter(records.values())).metric


def _values(records: Mapping[int, Record]) -> dict[int, float]:
    return {seed: record.value for seed, record in records.items() if record.value is not None}


def _sums(one: Measured, records: Mapping[int, Record]) -> dict[int, Additive]:
    found = {seed: one.seeds[seed].sums(record) for seed, record in records.items()}
    return {seed: additive for seed, additive in found.items() if additive is not None}
