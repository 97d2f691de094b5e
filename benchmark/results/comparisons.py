"""Model against model, from the sums that runs stored: paired tests, Holm groups, non-inferiority, means over seeds.

Models that share data, split, cases, protocol and measure are compared by each metric that is a function of sums over patients
and may be ranked. Runs of one model (name and settings) with several `--seed` are one system, its value the mean over seeds;
its trainings are told apart by the hash of the weights that each record names.
"""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.run.stored_sums import SIGNATURE, Statistic, read_statistics, statistics_file
from leaderboard.record import Record
from leaderboard.store import Collection, collect
from leaderboard.tables.boards import Board, Table, boards
from leaderboard.tables.pairwise import SEPARABLE, Comparison, Comparisons, OverSeeds
from leaderboard.tables.ranking import MINIMUM_N, comparable
from medim.common.errors import UserError
from tasks.metrics.statistics import paired
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.paired import ALPHA, Difference, compare_all, holm, interval_of, reverse, value_of, verdict
from tasks.protocols import UNKNOWN_TRAINING

SEED = 0  # of every resampling and randomisation: the same runs give the same comparisons


@dataclass(frozen=True)
class System:
    """One model with all its seeds, by one metric."""

    name: str
    records: list[Record]
    statistics: list[Statistic]

    @property
    def runs(self) -> list[str]:
        return [record.run for record in self.records]

    @property
    def additives(self) -> list[Additive]:
        return [statistic.additive for statistic in self.statistics]

    @property
    def compared(self) -> paired.System:
        """For comparisons: predictions of unknown origin are one training, however many folders they fill."""
        known = all(record.signature.get("settings") != UNKNOWN_TRAINING for record in self.records)
        trainings = [str(record.signature.get("model")) if known else "" for record in self.records]
        return paired.System(self.additives, trainings)


@dataclass
class Sums:
    """The statistics behind records, each file read once; what is missing is noted.
    `notes`: what could not be compared and why, each once."""

    collection: Collection
    notes: dict[str, None] = field(default_factory=dict)
    _files: dict[Path, Mapping[str, Statistic]] = field(default_factory=dict)

    def of(self, record: Record) -> Statistic | None:
        """The sums of a record; None where none were stored, or their file is missing. Raises UserError: a file that is
        damaged, of another system, lacks the metric, lies outside of the run or holds another value."""
        if record.signature.get(SIGNATURE) is None:
            return None
        paths = {statistics_path(folder, record): folder for folder in self.collection.runs[record.run].folders}
        found = [path for path in paths if path.is_file()]
        if not found:
            self.notes.setdefault(f"{next(iter(paths))} is missing: {record.model} is compared by its intervals alone")
            return None
        for path in found:
            if path not in self._files:
                self._files[path] = read_statistics(path, (record.task, record.model))
        path = next((path for path in found if record.metric in self._files[path]), found[0])
        statistic = self._files[path].get(record.metric)
        if statistic is None:
            raise UserError(f"{path}: no metric '{record.metric}', which {record.task} of '{record.model}' names")
        if record.value is not None and not same_value(statistic.additive.value(), record.value):
            raise UserError(
                f"{path}: {record.metric} is {statistic.additive.value():.6g}, but the record of run {record.run} says "
                f"{record.value:.6g}; `medim-bench leaderboard verify {paths[path]}` lists what differs"
            )
        return statistic


def statistics_path(folder: Path, record: Record) -> Path:
    """The file that a record's signature names: that of its own task, system and metric.
    Raises UserError: it names another, or one outside of the run's folder."""
    name = statistics_file(record.task, record.model)
    path = (folder / name).resolve()
    if record.signature[SIGNATURE] != {"file": name, "key": record.metric} or not path.is_relative_to(folder.resolve()):
        raise UserError(
            f"{folder}: {record.metric} of '{record.model}': signature '{SIGNATURE}' names {record.signature[SIGNATURE]}; "
            f"its own sums are '{record.metric}' in {name}"
        )
    return path


def same_value(one: float, other: float) -> bool:
    """Equal but for rounding: libraries may add up in another order."""
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def parse_margin(text: str) -> tuple[str, float]:
    """`METRIC=VALUE`, the value in the metric's own unit.
    Raises UserError: no such form, or a value that is not a positive number."""
    metric, equals, value = text.rpartition("=")
    try:
        margin = float(value)
    except ValueError:
        margin = math.nan
    if not equals or not metric.strip() or not (math.isfinite(margin) and margin > 0):
        raise UserError(f"--margin {text}: give METRIC=VALUE with a positive value in the metric's unit, such as BLEU-4=0.01")
    return metric.strip(), margin


def compare_runs(folders: Sequence[Path], margins: Mapping[str, float] | None = None) -> tuple[Comparisons, list[str]]:
    """All comparisons among some run folders. `margins`: of non-inferiority, by metric. Returns the comparisons, and notes on
    what could not be compared. Raises UserError: damaged statistics, unreadable run folders, or a margin for a metric by which
    nothing is compared."""
    collection = collect(folders)
    fingerprints = {name: run.manifest.dataset_fingerprint for name, run in collection.runs.items()}
    sums = Sums(collection)
    pairs: list[Comparison] = []
    seeds: list[OverSeeds] = []
    for board in boards(collection.records, fingerprints):
        for table in board.tables:
            for metric in table.metrics:
                found = systems(table, metric, sums)
                seeds += [over_seeds(board, table, metric, system) for system in found if len(system.records) > 1]
                pairs += compare_column(board, table, metric, found, (margins or {}).get(metric))
    compared = sorted({pair.metric for pair in pairs})
    for metric in margins or {}:
        if metric not in compared:
            close = difflib.get_close_matches(metric, compared, n=1, cutoff=0.5)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            few = sorted({r.run for r in collection.records if r.kind == "measured" and (r.n or 0) < MINIMUM_N})
            why = f"no two models on the same {MINIMUM_N} or more cases" if few[1:] else "there are no two models to compare"
            known = f"compared: {', '.join(compared)}" if compared else why
            raise UserError(f"--margin {metric}: nothing is compared by this metric{hint} ({known})")
    return Comparisons(pairs, seeds), list(sums.notes)


def systems(table: Table, metric: str, sums: Sums) -> list[System]:
    """The systems of a column that may be ranked and whose sums are there: runs of one model, one a seed, are one."""
    able = {label: (record, sums.of(record)) for label, record in comparable(table.column(metric)).items()}
    kept = {label: (record, statistic) for label, (record, statistic) in able.items() if statistic is not None}
    groups: dict[tuple[str, str], list[str]] = {}
    for label, (record, _) in kept.items():
        settings = json.dumps(record.signature.get("settings"), sort_keys=True)
        groups.setdefault((record.model, settings), []).append(label)
    parts: list[list[str]] = []
    for labels in groups.values():
        distinct = len({kept[label][0].seed for label in labels}) == len(labels)
        alike = len({kept[label][1].units for label in labels}) == 1
        parts += [labels] if distinct and alike else [[label] for label in labels]
    names = [kept[labels[0]][0].model for labels in parts]
    result = []
    for labels, name in zip(parts, names, strict=True):
        labels.sort(key=lambda label: kept[label][0].seed or 0)
        shown = name if names.count(name) == 1 else labels[0]
        result.append(System(shown, [kept[label][0] for label in labels], [kept[label][1] for label in labels]))
    return result


def over_seeds(board: Board, table: Table, metric: str, system: System) -> OverSeeds:
    """Mean over the seeds of a system, with patients and seeds drawn."""
    interval = interval_of(system.compared, SEED)
    return OverSeeds(
        **_column(board, table, metric),
        model=system.name,
        runs=system.runs,
        seeds=[record.seed or 0 for record in system.records],
        value=value_of(system.additives),
        values=[additive.value() for additive in system.additives],
        ci_low=interval.low,
        ci_high=interval.high,
    )


def _column(board: Board, table: Table, metric: str) -> dict[str, Any]:
    """What a comparison says of the column that it belongs to."""
    of_board = {name: getattr(board, name) for name in ("dataset", "fingerprint", "split", "protocol")}
    return {"task": table.task, "metric": metric, **of_board}


def compare_column(
    board: Board, table: Table, metric: str, found: Sequence[System], margin: float | None = None
) -> list[Comparison]:
    """Every pair of systems on the same cases, from both sides; p adjusted by Holm over all pairs of the column."""
    groups: dict[str, dict[str, System]] = {}
    for system in found:
        groups.setdefault(system.statistics[0].units, {})[system.name] = system
    differences: dict[tuple[str, str], Difference] = {}
    for group in groups.values():
        able = {name: system.compared for name, system in group.items() if system.compared.few() is None}
        differences |= compare_all(able, SEED)
    by_name = {system.name: system for system in found}
    defined = {pair: d for pair, d in differences.items() if np.isfinite(d.value)}
    adjusted = holm([difference.p for difference in defined.values()])
    higher = next(iter(by_name.values())).records[0].higher_is_better is not False if by_name else True
    result = []
    for ((one, other), difference), p in zip(defined.items(), adjusted, strict=True):
        smallest = difference.smallest_found(ALPHA / len(defined))
        for model, against, d in ((one, other, difference), (other, one, reverse(difference))):
            said = verdict(d, p, higher, margin)
            ours, theirs = by_name[model], by_name[against]
            result.append(
                Comparison(
                    **_column(board, table, metric),
                    model=model,
                    runs=ours.runs,
                    value=value_of(ours.additives),
                    against=against,
                    against_runs=theirs.runs,
                    against_value=value_of(theirs.additives),
                    difference=d.value,
                    ci_low=d.interval.low,
                    ci_high=d.interval.high,
                    p=d.p,
                    p_adjusted=p,
                    family=len(defined),
                    test=d.test,
                    patients=d.patients,
                    margin=margin,
                    verdict=said,
                    scope=d.scope,
                    smallest_found=smallest if said not in SEPARABLE else None,
                )
            )
    return result
