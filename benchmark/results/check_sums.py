"""Are the values of records what their sums give? Neither data nor predictions are needed, nor torch."""

from dataclasses import dataclass
from pathlib import Path

from benchmark.results.comparisons import same_value, statistics_path
from benchmark.run.stored_sums import SIGNATURE, Statistic, read_statistics
from leaderboard.record import Record, read_records
from medim.common.errors import UserError

RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Verified:
    """What became of the records of some folders."""

    agree: int  # how many records' value and interval follow from their sums
    missing: dict[Path, int]  # how many records name a file of sums that is not there, by file
    without: int  # how many have a value but no sums: a distance between sets, a maximum, a published number
    withheld: int  # how many have no value
    problems: list[str]  # one line for each record that differs, or whose sums cannot be read


def verify(folder: Path) -> Verified:
    """Recomputes what can be recomputed of every `records.jsonl` in or below `folder`. Raises UserError: no records there.
    Raises UserError: a line that is no record."""
    found = sorted(folder.rglob(RECORDS)) if folder.is_dir() else []
    paths = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]  # incomplete
    if not paths:
        raise UserError(f"no {RECORDS} in or below '{folder}': give the folder of a run, or one that holds runs")
    agree = without = withheld = 0
    missing: dict[Path, int] = {}
    problems: list[str] = []
    for path in paths:
        files: dict[Path, dict[str, Statistic]] = {}
        for record in read_records(path):
            if record.value is None:
                withheld += 1
            elif record.signature.get(SIGNATURE) is None:
                without += 1
            else:
                try:
                    sums = statistics_path(path.parent, record)
                    if not sums.is_file():
                        missing[sums] = missing.get(sums, 0) + 1
                        continue
                    problem = _problem(sums, record, files)
                except UserError as error:
                    problem = str(error)
                agree += problem is None
                if problem is not None:
                    problems.append(f"{path}: {record.task}: {record.metric} of '{record.model}': {problem}")
    return Verified(agree, missing, without, withheld, problems)


def _problem(path: Path, record: Record, files: dict[Path, dict[str, Statistic]]) -> str | None:
    """Where a record differs from its sums in `path`; UserError where these cannot be read."""
    if path not in files:
        files[path] = read_statistics(path, (record.task, record.model))
    statistic = files[path].get(record.metric)
    if statistic is None:
        return f"{path} holds no metric '{record.metric}'"
    assert record.value is not None
    patients = len(statistic.additive.patients)
    if record.n is not None and patients > record.n:
        return f"n {record.n}, but its sums are of {patients} patients"
    value = statistic.additive.value()
    if not same_value(value, record.value):
        return f"value {record.value:.8g}, but its sums give {value:.8g}"
    interval = statistic.additive.interval(statistic.seed)
    for name, ours, theirs in (("ci_low", interval.low, record.ci_low), ("ci_high", interval.high, record.ci_high)):
        if (ours is None) != (theirs is None) or (ours is not None and theirs is not None and not same_value(ours, theirs)):
            return f"{name} {theirs}, but its sums give {ours}"
    return None
