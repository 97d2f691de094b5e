"""Submissions into a store: checked, merged without duplicates, and whole or absent whatever happens meanwhile.

A store is a folder of run folders, such as `leaderboard/results`; each holds `manifest.json`, `records.jsonl` and the sums by
patient that its records name, and no image or report. A run enters by one rename; a run that is there already grows file by
file, its records last. A lock keeps two adders apart, and ends with the process that holds it.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from leaderboard.record import Record, read_records, write_records
from leaderboard.store import Manifest, contradictions, identity, merge, read_manifest, run_folders
from leaderboard.submissions.submission import (
    MANIFEST,
    RECORDS,
    STATISTICS,
    RefusedError,
    Submission,
    read_submission,
)
from medim.common.errors import UserError
from medim.common.files import write_bytes, write_text
from medim.common.locks import locked

DEFAULT_STORE = Path(__file__).parent / "results"
LOCK, INCOMING = ".lock", ".incoming"
Recompute = Callable[[Path], Sequence[str]]
"""What differs between the records of a run's folder and the sums beside them, one line each."""


@dataclass(frozen=True)
class Added:
    """What became of a submission.

    Attributes:
        folder: of the run in the store.
        new, known: how many records were added, and how many stood there already.
        without_sums: how many of the submission's values have no sums by patient: they are taken as stated.
    """

    folder: Path
    new: int
    known: int
    without_sums: int


def add(source: str | Path, store: str | Path, recompute: Recompute) -> Added:
    """Checks a submission and merges it into a store, which is made where there is none.

    Args:
        source: a run's folder, or the `records.jsonl` in it.
        recompute: recomputes values and intervals from the sums of a folder; called on a copy inside the store, before
            anything of it can be seen. Sums that a stored run lacks are no difference: a submission's own are all there.

    Raises:
        RefusedError: malformed, contradicting itself or the store, or not what its sums give. The store is then as it was.
        UserError: no such submission, or a store that cannot be read.
    """
    submission = read_submission(source)
    store = Path(store)
    with locked(store / LOCK):
        shutil.rmtree(store / INCOMING, ignore_errors=True)  # a killed adder's
        runs = {folder: read_manifest(folder / MANIFEST) for folder in run_folders(store)}
        reasons = [reason for folder, manifest in runs.items() for reason in _against(submission, folder, manifest)]
        reasons += _unlike(submission, [record for folder in runs for record in read_records(folder / RECORDS)])
        if reasons:
            raise RefusedError(str(source), reasons)
        run = submission.manifest.run
        target = next((folder for folder, manifest in runs.items() if manifest.run == run), None)
        return _enter(submission, store, target, recompute)


def _against(submission: Submission, folder: Path, theirs: Manifest) -> list[str]:
    """Why a submission cannot stand beside a run of the store."""
    ours = submission.manifest
    path = submission.folder / MANIFEST
    if ours.run == theirs.run:
        return [
            f"{path}: field '{name}': {one}, but run {ours.run} is in the store with {other} ({folder})"
            for name, one, other in contradictions(ours, theirs)
        ]
    reasons = []
    if identity(ours) == identity(theirs):
        reasons.append(f"{path}: field 'run': '{ours.run}' repeats run '{theirs.run}' of the store under another id ({folder})")
    if (ours.dataset, ours.split) == (theirs.dataset, theirs.split) and ours.dataset_fingerprint != theirs.dataset_fingerprint:
        reasons.append(
            f"{path}: field 'dataset_fingerprint': '{ours.dataset_fingerprint}', but in this store split '{ours.split}' of "
            f"'{ours.dataset}' is '{theirs.dataset_fingerprint}' ({folder}): another split, or other data of that name"
        )
    return reasons


def _unlike(submission: Submission, stored: Sequence[Record]) -> list[str]:
    """Records of another direction than the rest of their task and metric, or without the sums that the rest have."""
    directions: dict[tuple[str, str], bool | None] = {}
    summed = set()
    for record in (*stored, *submission.records):
        directions.setdefault((record.task, record.metric), record.higher_is_better)
        if record.signature.get(STATISTICS) is not None:
            summed.add((record.task, record.metric))
    reasons = []
    for where, record in submission.found:
        direction = directions[record.task, record.metric]
        if record.higher_is_better != direction:
            reasons.append(f"{where}: field 'higher_is_better': {record.higher_is_better}, but of other records {direction}")
        if record.unverified and (record.task, record.metric) in summed:
            reasons.append(
                f"{where}: field 'signature.{STATISTICS}' is missing: other values of {record.task}/{record.metric} have sums"
            )
    return reasons


def _enter(submission: Submission, store: Path, target: Path | None, recompute: Recompute) -> Added:
    known = read_records(target / RECORDS) if target else []
    try:
        merged = merge([*((str(target), record) for record in known), *submission.found])
    except UserError as error:
        raise RefusedError(str(submission.folder), [str(error)]) from error
    staged = store / INCOMING
    try:
        _stage(submission, merged, target, staged)
        if problems := [problem.replace(str(staged), str(submission.folder)) for problem in recompute(staged)]:
            raise RefusedError(str(submission.folder), problems)
        if target is None:
            target = _free(store, submission.manifest)
            os.rename(staged, target)
        elif len(merged) > len(known) or not all((target / name).is_file() for name in submission.statistics()):
            _replace(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    new = len(merged) - len(known)
    without = sum(record.unverified is True for record in submission.records)
    return Added(target, new, len(submission.found) - new, without)


def _stage(submission: Submission, merged: list[Record], target: Path | None, staged: Path) -> None:
    """The run as it is going to stand in the store."""
    if target is not None:
        shutil.copytree(target, staged)
    for name in submission.statistics():
        write_bytes(staged / name, (submission.folder / name).read_bytes())
    write_text(staged / MANIFEST, _manifest(submission, target))
    write_records(staged / RECORDS, merged)


def _manifest(submission: Submission, target: Path | None) -> str:
    value = json.loads(((target or submission.folder) / MANIFEST).read_text(encoding="utf-8"))
    value["tasks"] = list(dict.fromkeys([*value["tasks"], *submission.manifest.tasks]))
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _replace(staged: Path, target: Path) -> None:
    """Sums first and records last: at every moment the records agree with the sums that they name."""
    files = sorted(path.relative_to(staged) for path in staged.rglob("*") if path.is_file())
    for name in sorted(files, key=lambda name: (name == Path(RECORDS), name == Path(MANIFEST))):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / name, target / name)


def _free(store: Path, manifest: Manifest) -> Path:
    """A folder for a new run: named by data, model and the beginning of its id, with a number where another run has that."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{manifest.dataset}-{manifest.model}-{manifest.run[:8]}").strip("-.")
    for folder in (store / (name if number == 1 else f"{name}-{number}") for number in count(1)):
        if not folder.exists():
            break
        if not (folder / RECORDS).is_file():
            raise UserError(f"{folder}: is there and holds no run; remove it, then add again")
    return folder
