"""The sums behind a system's scores, stored beside its records: with them anyone can recompute the intervals, without the data.

`OUT/statistics/<task>/<system>.npz` holds float64 arrays (P, K) of sums, one row a patient, and one JSON text, `index`, that
says for each metric which array, which function of its sums (`additive`) and which parameters. Patients are running numbers
in order of the cases, so that systems scored on the same cases pair up row by row; no name of a patient is stored, only a
hash of their sequence.
"""

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medim.common.errors import UserError
from medim.common.files import atomic_path, file_name, hash_of
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Case

if TYPE_CHECKING:
    from tasks.scoring.scores import Score  # loads torch

STATISTICS = "statistics"
SIGNATURE = "statistics"  # the key of a record's signature that names file and metric
INDEX = "index"
VERSION = 1
# What an altered file may raise: an index of another form, arrays or parameters that their function cannot take.
DAMAGED = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, ValueError, TypeError),
    *(AttributeError, LookupError, ArithmeticError, RuntimeError),
)


@dataclass(frozen=True)
class Statistic:
    """One metric's sums by patient."""

    additive: Additive  # with one row a patient
    seed: int  # of the resampling of the record's interval
    units: str  # hash of what the rows stand for (case ids and whose they are, in order): equal for systems that pair up


def statistics_file(task: str, system: str) -> str:
    """The file's path inside a run's folder, with `/`."""
    return f"{STATISTICS}/{task}/{file_name(system)}.npz"


def write_statistics(
    path: Path, cases: Sequence[Case], scores: Iterable["Score"], seed: int, system: str, task: str
) -> dict[str, dict[str, str]]:
    """Writes the sums of those scores that have them, atomically; the same scores give the same bytes. `path`: the run's
    folder. `cases`: those scored, in their order. `seed`: of the resampling. Returns for each metric stored: what its record's
    signature says of it, `{"file", "key"}`. Without any there is no file."""
    name = statistics_file(task, system)
    cases_hash = hash_of([case.id for case in cases])
    arrays: dict[str, np.ndarray] = {}
    index: dict[str, Any] = {}
    for score in scores:
        if score.additive is None:
            continue
        if score.metric in index:
            raise ValueError(f"two scores of {system} on {task} are named '{score.metric}'")
        by_patient = score.additive.by_patient()
        key = f"sums-{hash_of([by_patient.sums.shape, by_patient.sums.tobytes().hex()])}"  # BLEU-1..4 share theirs
        arrays[key] = by_patient.sums
        function = {"combine": by_patient.combine, "parameters": dict(by_patient.parameters), "paired": by_patient.paired}
        units = hash_of([cases_hash, list(score.additive.patients)])
        index[score.metric] = {"sums": key, **function, "seed": seed, "units": units}
    file = path / name
    if not index:
        file.unlink(missing_ok=True)
        return {}
    text = json.dumps({"version": VERSION, "task": task, "system": system, "metrics": index}, sort_keys=True)
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        content: dict[str, Any] = {INDEX: np.array(text), **dict(sorted(arrays.items()))}
        np.savez_compressed(stream, **content)
    return {metric: {"file": name, "key": metric} for metric in index}


def lost_statistics(folder: Path, scores: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a file that the signatures of these scores name is gone from the run's folder."""
    files = {score["signature"][SIGNATURE]["file"] for score in scores if SIGNATURE in score["signature"]}
    return any(not (folder / file).is_file() for file in files)


def read_statistics(file: Path, whose: tuple[str, str] | None = None) -> dict[str, Statistic]:
    """The statistics of one file by metric. `whose`: the task and the system that the file must be of; None for any. Raises
    UserError: the file is missing, damaged, of another version, task or system, or names a function that is not installed."""
    try:
        with np.load(file, allow_pickle=False) as content:
            index = json.loads(str(content[INDEX]))
            if index["version"] != VERSION:
                raise UserError(f"{file}: version {index['version']} of these files, and this program reads {VERSION}")
            if whose is not None and whose != (index["task"], index["system"]):
                raise UserError(f"{file}: sums of '{index['system']}' on {index['task']}, not of '{whose[1]}' on {whose[0]}")
            arrays = {name: content[name] for name in content.files if name != INDEX}
            return {metric: _statistic(file, metric, entry, arrays) for metric, entry in index["metrics"].items()}
    except FileNotFoundError:
        raise UserError(f"{file}: no such file of statistics") from None
    except DAMAGED as error:
        raise UserError(f"{file}: no file of statistics, or a damaged one ({type(error).__name__}: {error})") from error


def _statistic(file: Path, metric: str, entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Statistic:
    try:
        sums = arrays[entry["sums"]]
        numbers = tuple(map(str, range(len(sums))))
        additive = Additive(sums, numbers, entry["combine"], entry["parameters"], entry["paired"])
        additive.value()
        additive.interval(entry["seed"], resamples=2)  # what it was made for can be done
        return Statistic(additive, entry["seed"], str(entry["units"]))
    except UserError as error:
        raise UserError(f"{file}: metric '{metric}': {error}") from error
    except DAMAGED as error:
        raise UserError(f"{file}: metric '{metric}': {type(error).__name__}: {error}") from error
