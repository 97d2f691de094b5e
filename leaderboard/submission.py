"""Runs that somebody else measured: examined, then merged into a store, whole or not at all.

A store is a folder of run folders, such as `leaderboard/results`; each holds `manifest.json`, `records.jsonl` and the sums by
patient that its records name, and no image or report. A run enters by one rename; a run that is there already grows file by
file, its records last. A lock keeps two adders apart.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from leaderboard.record import SUMS, Record, read_records, write_records
from leaderboard.store import MANIFEST, RECORDS, Manifest, contradictions, identity, merge, read_manifest, run_folders
from medim.common.csv_text import is_formula
from medim.common.errors import UserError
from medim.common.files import write_bytes, write_json
from medim.common.json_lines import numbered_lines, parse_model
from medim.common.locks import LOCK, locked

DEFAULT_STORE = Path(__file__).parent / "results"
INCOMING = ".incoming"
# Of many trained models each: rows bear the arms' names, and what was trained on what stands in the manifest. A task's name may
# end in brackets, with what it may not be compared across.
STUDIES = ("ablation", "augmentation")
NAMES = ("task", "model", "dataset", "split", "metric", "protocol", "run")
Recompute = Callable[[Path], Sequence[str]]
"""What differs between the records of a run's folder and the sums beside them, one line each."""


class RefusedError(UserError):
    """A submission that may not enter a store; `reasons` has every reason, one line each, with file, line and field."""

    def __init__(self, what: str, reasons: list[str]) -> None:
        self.reasons = reasons
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"{what} is refused: {reasons[0]}{more}")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise RefusedError(str(path), [str(error)]) from error


@dataclass(frozen=True)
class Submission:
    """A run's folder as handed in; `found` has (file and line, record) in the order of the file."""

    folder: Path
    manifest: Manifest
    found: list[tuple[str, Record]]

    @property
    def records(self) -> list[Record]:
        return [record for _, record in self.found]

    def statistics(self) -> list[str]:
        """The files with sums by patient that the records name, each once, relative to the folder."""
        named = (record.signature.get(SUMS) for record in self.records)
        return list(dict.fromkeys(str(entry["file"]) for entry in named if entry is not None))


@dataclass(frozen=True)
class Added:
    """What became of a submission: records that are `new` or were `known` in the run's `folder`, values taken as stated."""

    folder: Path
    new: int
    known: int
    without_sums: int


def add(source: str | Path, store: str | Path, recompute: Recompute) -> Added:
    """Examines a submission and merges it into a store, which is created where there is none.
    `source`: a run's folder, or the `records.jsonl` in it.
    `recompute`: recomputes values and intervals from the sums of a folder; called on a copy inside the store, before anything
    of it can be seen. Sums that a stored run lacks are no difference: a submission has all of its own.
    Raises RefusedError: malformed, contradicting itself or the store, or not what its sums give. The store is then as it was.
    Raises UserError: no such submission, or a store that cannot be read."""
    submission = read_submission(source)
    store = Path(store)
    with locked(store / LOCK):
        shutil.rmtree(store / INCOMING, ignore_errors=True)  # a killed adder's
        runs = {folder: read_manifest(folder / MANIFEST) for folder in run_folders(store)}
        reasons = [reason for folder, manifest in runs.items() for reason in _against(submission, folder, manifest)]
        reasons += _unlike(submission, [record for folder in runs for record in read_records(folder / RECORDS)])
        if reasons:
            raise RefusedError(str(source), reasons)
        target = next((folder for folder, manifest in runs.items() if manifest.run == submission.manifest.run), None)
        return _enter(submission, store, target, recompute)


# --- what a submission says of itself ----------------------------------------------------------------------------------------


def read_submission(path: str | Path) -> Submission:
    """Reads and examines a run's folder, or the `records.jsonl` in it. Raises as `add`, but for what only a store can tell."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise UserError(f"{path}: no such submission: give a run's folder, or the {RECORDS} in it")
    records = folder / RECORDS if path.is_dir() else path
    with _refusing(path):
        manifest = read_manifest(folder / MANIFEST)
        lines = list(numbered_lines(records))
    found: list[tuple[str, Record]] = []
    reasons = [] if lines else [f"{records}: no records"]
    for number, line in lines:
        where = f"{records}:{number}"
        try:
            found.append((where, parse_model(line, Record, where)))
        except UserError as error:
            reasons.append(str(error))
    first: dict[tuple[str | int | None, ...], str] = {}
    for where, record in found:
        problems = [*_unfit_names(record), *_contradictions(record, manifest), *_wrong_numbers(record, manifest)]
        problems += _wrong_sums(record, folder)
        reasons += [f"{where}: {problem}" for problem in problems]
        known = first.setdefault(record.key, where)
        if known != where:
            what = f"{record.task}/{record.metric} of '{record.model}'"
            reasons.append(f"{where}: a second record of {what}; the first is line {known.rpartition(':')[2]}")
    measured = [record for _, record in found if record.kind == "measured"]
    if manifest.failures and measured and all(record.coverage == 1 for record in measured):
        failed = f"{manifest.failures} samples failed, and yet every record has coverage 1"
        reasons.append(f"{folder / MANIFEST}: field 'failures': {failed}")
    if reasons:
        raise RefusedError(str(path), reasons)
    return Submission(folder, manifest, found)


def _unfit_names(record: Record) -> Iterator[str]:
    """Names that may not stand in tables that many will open."""
    for field in NAMES:
        name = getattr(record, field)
        reason = "" if name.isprintable() else "is no line of printable text"
        reason = "begins as a formula, which a spreadsheet would run" if is_formula(name) else reason
        if reason:
            yield f"field '{field}': {name!r} {reason}: give it another name"


def _contradictions(record: Record, manifest: Manifest) -> Iterator[str]:
    """Where a record contradicts its manifest, or its signature the record."""
    run: dict[str, Any] = manifest.model_dump()
    ours: dict[str, Any] = record.model_dump()
    if record.kind == "reported":
        yield "field 'kind': a published number is no result of a run; submit 'measured' and 'anchor' records"
    for field in ("run", "dataset", "split", "synthetic", "seed", "protocol"):
        if field in run and ours[field] != run[field]:
            yield f"field '{field}': {ours[field]!r}, but {MANIFEST} says {run[field]!r}"
    study = record.task.partition(" (")[0] in STUDIES
    one_model = record.kind == "measured" and not study
    if one_model and record.model != manifest.model:
        yield f"field 'model': measured '{record.model}', but {MANIFEST} says '{manifest.model}'"
    if record.task not in manifest.tasks:
        yield f"field 'task': '{record.task}' is none of the manifest's: {', '.join(manifest.tasks)}"
    stated = {"metric": record.metric, "n": record.n, "data": manifest.dataset_fingerprint}
    stated |= {"model": manifest.model_fingerprint} if one_model else {}
    for key, value in stated.items():
        if key not in record.signature:
            if key == "metric" or not study:
                yield f"field 'signature.{key}' is missing: a value without it cannot be compared"
        elif record.signature[key] != value:
            meaning = " (scored on another data set or split)" if key == "data" else ""
            yield f"field 'signature.{key}': {record.signature[key]!r}, but this is {value!r}{meaning}"


def _wrong_numbers(record: Record, manifest: Manifest) -> Iterator[str]:
    """A share of cases is a whole number of them; without sums to recompute it from, a value lies in its interval."""
    if record.n is not None and record.coverage is not None:
        if manifest.n is not None and record.n > manifest.n:
            yield f"field 'n': {record.n} cases, but {MANIFEST} says that the run had {manifest.n}"
        totals = {record.n, manifest.n or record.n}
        if all(abs(record.coverage * total - round(record.coverage * total)) > 1e-6 * max(total, 1) for total in totals):
            yield f"field 'coverage': {record.coverage} is no share of {record.n} cases"
    ends = [end for end in (record.ci_low, record.value, record.ci_high) if end is not None]
    if record.signature.get(SUMS) is None and ends != sorted(ends):
        yield f"field 'value': {record.value} lies outside of its interval, {record.ci_low} to {record.ci_high}"


def _wrong_sums(record: Record, folder: Path) -> Iterator[str]:
    sums = record.signature.get(SUMS)
    if sums is None:
        return
    if not (isinstance(sums, dict) and {"file", "key"} <= sums.keys()):
        yield f"field 'signature.{SUMS}': names no file and key"
        return
    name = PurePosixPath(str(sums["file"]))
    if name.is_absolute() or ".." in name.parts or name.parts[:1] != (SUMS,) or name.suffix != ".npz":
        yield f"field 'signature.{SUMS}': '{sums['file']}' is no file in {SUMS}/ of the submission"
    elif not os.path.isfile(folder / name) or not (folder / name).resolve().is_relative_to(folder.resolve()):
        yield f"field 'signature.{SUMS}': the submission lacks {name}"


# --- what it says beside the store -------------------------------------------------------------------------------------------


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
        if record.signature.get(SUMS) is not None:
            summed.add((record.task, record.metric))
    reasons = []
    for where, record in submission.found:
        direction = directions[record.task, record.metric]
        if record.higher_is_better != direction:
            reasons.append(f"{where}: field 'higher_is_better': {record.higher_is_better}, but of other records {direction}")
        if record.unverified and (record.task, record.metric) in summed:
            what = f"{record.task}/{record.metric}"
            reasons.append(f"{where}: field 'signature.{SUMS}' is missing: other values of {what} have sums")
    return reasons


def _enter(submission: Submission, store: Path, target: Path | None, recompute: Recompute) -> Added:
    known = read_records(target / RECORDS) if target else []
    with _refusing(submission.folder):
        merged = merge([*((str(target), record) for record in known), *submission.found])
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
    manifest = json.loads(((target or submission.folder) / MANIFEST).read_text(encoding="utf-8"))
    manifest["tasks"] = list(dict.fromkeys([*manifest["tasks"], *submission.manifest.tasks]))
    write_json(staged / MANIFEST, manifest)
    write_records(staged / RECORDS, merged)


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
