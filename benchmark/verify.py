"""Are the values and intervals of records those of the sums that stand beside them? Needs no data and no predictions."""

from dataclasses import dataclass
from pathlib import Path

from benchmark.comparisons import same_value, statistics_path
from benchmark.statistics_store import SIGNATURE, Statistic, read_statistics
from leaderboard.record import Record, read_records
from medim.errors import UserError

RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Verified:
    """What became of the records of some folders.

    Attributes:
        agree: how many records' value and interval follow from their sums.
        without: how many have a value but no sums: a distance between sets, a maximum, a published number.
        withheld: how many have no value.
        problems: one line for each record that differs, or whose sums cannot be read.
    """

    agree: int
    without: int
    withheld: int
    problems: list[str]


def verify(folder: Path) -> Verified:
    """Recomputes what can be recomputed of every `records.jsonl` in or below `folder`.

    Raises:
        UserError: no records there.
        LeaderboardError: a line that is no record.
    """
    paths = sorted(folder.rglob(RECORDS)) if folder.is_dir() else []
    if not paths:
        raise UserError(f"no {RECORDS} in or below '{folder}': give the folder of a run, or one that holds runs")
    agree = without = withheld = 0
    problems: list[str] = []
    for path in paths:
        files: dict[Path, dict[str, Statistic]] = {}
        for record in read_records(path):
            where = record.signature.get(SIGNATURE)
            if record.value is None:
                withheld += 1
            elif where is None:
                without += 1
            else:
                problem = _problem(path.parent, record, where, files)
                agree += problem is None
                if problem is not None:
                    problems.append(f"{path}: {record.task}: {record.metric} of '{record.model}': {problem}")
    return Verified(agree, without, withheld, problems)


def _problem(folder: Path, record: Record, where: dict[str, str], files: dict[Path, dict[str, Statistic]]) -> str | None:
    try:
        path = statistics_path(folder, where, record)
        if path not in files:
            files[path] = read_statistics(path)
    except UserError as error:
        return str(error)
    statistic = files[path].get(where["key"])
    if statistic is None:
        return f"{path} holds no metric '{where['key']}'"
    assert record.value is not None
    value = statistic.additive.value()
    if not same_value(value, record.value):
        return f"value {record.value:.8g}, but its sums give {value:.8g}"
    interval = statistic.additive.interval(statistic.seed)
    for name, ours, theirs in (("ci_low", interval.low, record.ci_low), ("ci_high", interval.high, record.ci_high)):
        if (ours is None) != (theirs is None) or (ours is not None and theirs is not None and not same_value(ours, theirs)):
            return f"{name} {theirs}, but its sums give {ours}"
    return None
