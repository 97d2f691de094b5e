"""What somebody else measured: is it whole, and does it say the same of itself everywhere?"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from leaderboard.record import SUMS as STATISTICS
from leaderboard.record import Record
from leaderboard.store import Manifest, read_manifest
from medim.common.csv_text import is_formula
from medim.common.errors import UserError
from medim.common.json_lines import numbered_lines, parse_model

MANIFEST, RECORDS = "manifest.json", "records.jsonl"
# Of many trained models each: rows bear the arms' names, and what was trained on what stands in the manifest. A task's name may
# end in brackets, with what it may not be compared across.
STUDIES = ("ablation", "augmentation")

NAMES = ("task", "model", "dataset", "split", "metric", "protocol", "run")


class RefusedError(UserError):
    """A submission that may not enter a store, and every reason why.

    Attributes:
        reasons: one line each, with file, line and field.
    """

    def __init__(self, what: str, reasons: list[str]) -> None:
        self.reasons = reasons
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"{what} is refused: {reasons[0]}{more}")


@dataclass(frozen=True)
class Submission:
    """A run's folder as handed in: `manifest.json`, `records.jsonl` and, where its records name any, `statistics/`.

    Attributes:
        found: (file and line, record) in the order of the file.
    """

    folder: Path
    manifest: Manifest
    found: list[tuple[str, Record]]

    @property
    def records(self) -> list[Record]:
        return [record for _, record in self.found]

    def statistics(self) -> list[str]:
        """The files with sums by patient that the records name, each once, relative to the folder."""
        named = (record.signature.get(STATISTICS) for record in self.records)
        return list(dict.fromkeys(str(entry["file"]) for entry in named if entry is not None))


def read_submission(path: str | Path) -> Submission:
    """Reads a run's folder, or the `records.jsonl` in it, and examines it.

    Raises:
        RefusedError: it is malformed, contradicts itself, or names files that it lacks; every reason is told.
        UserError: there is no such folder.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise UserError(f"{path}: no such submission: give a run's folder, or the {RECORDS} in it")
    with _refusing(path):
        manifest = read_manifest(folder / MANIFEST)
    records = folder / RECORDS if path.is_dir() else path
    found: list[tuple[str, Record]] = []
    reasons = []
    with _refusing(path):
        lines = list(numbered_lines(records))
    for number, line in lines:
        where = f"{records}:{number}"
        try:
            found.append((where, parse_model(line, Record, where)))
        except UserError as error:
            reasons.append(str(error))
    if not found and not reasons:
        reasons.append(f"{records}: no records")
    submission = Submission(folder, manifest, found)
    reasons += [f"{where}: {problem}" for where, record in found for problem in _problems(record, manifest)]
    reasons += _duplicates(submission) + _coverage(submission) + _missing_statistics(submission)
    if reasons:
        raise RefusedError(str(path), reasons)
    return submission


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise RefusedError(str(path), [str(error)]) from error


def _problems(record: Record, manifest: Manifest) -> list[str]:
    """Where a record contradicts its manifest, or its signature the record."""
    told: dict[str, Any] = manifest.model_dump()
    ours: dict[str, Any] = record.model_dump()
    problems = [
        f"field '{name}': {ours[name]!r} {reason}: give it another name"
        for name in NAMES
        if (reason := _unfit(ours[name])) is not None
    ]
    if record.kind == "reported":
        problems.append("field 'kind': a published number is no result of a run; submit 'measured' and 'anchor' records")
    for field in ("run", "dataset", "split", "synthetic", "seed", "protocol"):
        if field in told and ours[field] != told[field]:
            problems.append(f"field '{field}': {ours[field]!r}, but {MANIFEST} says {told[field]!r}")
    study = record.task.partition(" (")[0] in STUDIES
    if record.kind == "measured" and record.model != manifest.model and not study:
        problems.append(f"field 'model': measured '{record.model}', but {MANIFEST} says '{manifest.model}'")
    if record.task not in manifest.tasks:
        problems.append(f"field 'task': '{record.task}' is none of the manifest's: {', '.join(manifest.tasks)}")
    stated = {"metric": record.metric, "n": record.n, "data": manifest.dataset_fingerprint}
    stated |= {"model": manifest.model_fingerprint} if record.kind == "measured" and not study else {}
    for key, value in stated.items():
        if key not in record.signature:
            if study and key != "metric":
                continue
            problems.append(f"field 'signature.{key}' is missing: a value without it cannot be compared")
        elif record.signature[key] != value:
            meaning = " (scored on another data set or split)" if key == "data" else ""
            problems.append(f"field 'signature.{key}': {record.signature[key]!r}, but this is {value!r}{meaning}")
    sums = record.signature.get(STATISTICS)
    if sums is not None and not (isinstance(sums, dict) and {"file", "key"} <= sums.keys()):
        problems.append(f"field 'signature.{STATISTICS}': names no file and key")
    elif sums is not None and not _is_inside(str(sums["file"])):
        problems.append(f"field 'signature.{STATISTICS}': '{sums['file']}' is no file in {STATISTICS}/ of the submission")
    ends = [end for end in (record.ci_low, record.value, record.ci_high) if end is not None]
    if sums is None and ends != sorted(ends):
        problems.append(f"field 'value': {record.value} lies outside of its interval, {record.ci_low} to {record.ci_high}")
    return problems


def _unfit(name: str) -> str | None:
    """Why a name may not stand in tables that many will open; None where it may."""
    if is_formula(name):
        return "begins as a formula, which a spreadsheet would run"
    return None if name.isprintable() else "is no line of printable text"


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts[:1] == (STATISTICS,) and path.suffix == ".npz"


def _duplicates(submission: Submission) -> list[str]:
    first: dict[tuple[str | int | None, ...], str] = {}
    reasons = []
    for where, record in submission.found:
        known = first.setdefault(record.key, where)
        if known != where:
            line = known.rpartition(":")[2]
            reasons.append(
                f"{where}: a second record of {record.task}/{record.metric} of '{record.model}'; the first is line {line}"
            )
    return reasons


def _coverage(submission: Submission) -> list[str]:
    """A share of cases is a whole number of them; failures that the manifest counts must show in some coverage."""
    cases, failures = submission.manifest.n, submission.manifest.failures
    reasons = []
    for where, record in submission.found:
        if record.n is None or record.coverage is None:  # of kind 'reported', which is refused by its kind
            continue
        if cases is not None and record.n > cases:
            reasons.append(f"{where}: field 'n': {record.n} cases, but {MANIFEST} says that the run had {cases}")
        totals = {record.n, cases or record.n}
        if all(abs(record.coverage * total - round(record.coverage * total)) > 1e-6 * max(total, 1) for total in totals):
            reasons.append(f"{where}: field 'coverage': {record.coverage} is no share of {record.n} cases")
    measured = [record for record in submission.records if record.kind == "measured"]
    if failures and measured and all(record.coverage == 1 for record in measured):
        reasons.append(
            f"{submission.folder / MANIFEST}: field 'failures': {failures} samples failed, and yet every record has coverage 1"
        )
    return reasons


def _missing_statistics(submission: Submission) -> list[str]:
    reasons = []
    for where, record in submission.found:
        sums = record.signature.get(STATISTICS)
        if isinstance(sums, dict) and _is_inside(str(sums.get("file", ""))):
            path = submission.folder / str(sums["file"])
            if not os.path.isfile(path) or not path.resolve().is_relative_to(submission.folder.resolve()):
                reasons.append(f"{where}: field 'signature.{STATISTICS}': the submission lacks {sums['file']}")
    return reasons
