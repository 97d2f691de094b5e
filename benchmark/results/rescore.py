"""Are the values of records what their predictions give? These are scored again, on their data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark.run.runner import reason_against, run
from benchmark.run.scoring import RECONSTRUCTION
from benchmark.run.stored_sums import SIGNATURE
from benchmark.systems import best_device
from leaderboard.record import Record, read_records
from leaderboard.store import Manifest, read_manifest
from medim.common.errors import UserError
from medim.common.files import file_name
from medim.data.dataset import PairDataset
from medim.data.loading import load_dataset
from tasks import task_named, task_names
from tasks.adapters.checkers.attach import attach_checkers
from tasks.adapters.predictions import PredictionFolder

RECORDS, MANIFEST = "records.jsonl", "manifest.json"
_READ = "{}_checker_{}"  # keys of signatures that say which chosen checker read
OTHER_MACHINE = 1e-3  # relative: what a feature extractor's arithmetic may differ by between two machines


@dataclass(frozen=True)
class Rescored:
    """What scoring a run's predictions again gave."""

    # how many records have the value that the predictions give; the reconstruction, which needs the model itself, is not among
    # them
    agree: int
    # what was not scored again, with the reason: tasks without predictions, values for which a tool is missing
    skipped: dict[str, str]
    problems: list[str]  # one line for each record that differs, or that scoring no longer gives


def rescore(
    folder: Path,
    data: str,
    predictions: Path | None = None,
    cache: Path | None = None,
    judge: Path | None = None,
    checkers: Sequence[str] = (),
    checker_labels: Path | None = None,
) -> Rescored:
    """Scores what a run's system answered again, as `medim-bench score` would, and compares every record.
    `folder`: of the run: `manifest.json` and `records.jsonl`.
    `data`: what the predictions answer.
    `predictions`: where they are; by default those that the run stored in `samples/`.
    `cache`: folder that runs share; None for none.
    `judge`: folder of the chat model that judged the run's pairs; without it, what it said of them is not scored again.
    `checkers`, `checker_labels`: as `--checker` and `--checker-labels`; what others read is not scored again.
    Raises UserError: other data or another split than the run's, other predictions than those scored, or none at all.
    Raises UserError: a folder that is no run's."""
    manifest = read_manifest(folder / MANIFEST)
    records = read_records(folder / RECORDS)
    dataset = load_dataset(data)
    check_split(folder / MANIFEST, manifest, dataset)
    if checkers or any(_READ.format("report", "label_map") in record.signature for record in records):
        attach_checkers(dataset, checkers, checker_labels, best_device(None))
    agree, skipped, problems = 0, {}, []
    with TemporaryDirectory(prefix="medim-verify-") as scratch:
        for task in manifest.tasks:
            theirs = [record for record in records if record.task == task]
            ours = _scored(folder, manifest, task, dataset, predictions, Path(scratch), cache=cache, judge=judge)
            if isinstance(ours, str):
                skipped[task] = ours
                continue
            again = {(one.kind, one.model, one.metric): one for one in ours}
            lacking = {_measure(one.metric): str(one.reason) for one in ours if one.signature.get("unavailable")}
            for record in theirs:
                if record.model == RECONSTRUCTION:
                    continue
                name = f"{record.task}: {record.metric} of '{record.model}'"
                one = again.get((record.kind, record.model, record.metric))
                reason, difference = _unable(record, one, lacking), _difference(record, one)
                if reason is not None:
                    skipped[name] = reason
                elif difference is not None:
                    problems.append(f"{folder / RECORDS}: {name}: {difference}")
                else:
                    agree += 1
    if skipped.keys() >= set(manifest.tasks):
        raise UserError(f"nothing to score again: {'; '.join(f'{task}: {reason}' for task, reason in skipped.items())}")
    return Rescored(agree, skipped, problems)


def check_split(path: Path, manifest: Manifest, dataset: PairDataset) -> None:
    """Refuses data other than what a run was scored on. Raises UserError: names both hashes."""
    if dataset.fingerprint != manifest.dataset_fingerprint:
        raise UserError(
            f"{path}: field 'dataset_fingerprint': '{manifest.dataset_fingerprint}', but '{dataset.name}' is "
            f"'{dataset.fingerprint}': scored on other data or another split"
        )


def _scored(
    folder: Path, manifest: Manifest, task: str, dataset: PairDataset, given: Path | None, scratch: Path, **shared: Any
) -> list[Record] | str:
    """The records that the predictions give for one task, or why there are none; `shared` is the cache and the judge."""
    source = given or folder / "samples" / task / file_name(manifest.model)
    if not source.is_dir():
        return f"no predictions in '{source}'"
    if task not in task_names():
        return "no task of this program"
    system = PredictionFolder(source, manifest.model)
    if given and manifest.settings == system.settings() and system.fingerprint != manifest.model_fingerprint:
        raise UserError(
            f"{folder / MANIFEST}: field 'model_fingerprint': '{manifest.model_fingerprint}', but the predictions in '{given}' "
            f"are '{system.fingerprint}': not those that were scored"
        )
    reason = reason_against(task_named(task), system, dataset)
    if reason is not None:
        return reason
    stated: dict[str, Any] = manifest.model_dump()
    if other := stated.get("reference") or stated.get("references"):
        return f"scored against other references than the data set's ({other}): `score` with the same options gives it again"
    names = ("limit", "seed", "protocol", "features")
    options = {name: stated[name] for name in names if stated.get(name) is not None} | shared
    options |= {"resolution": stated.get("resolution"), "split": manifest.split, "command": "leaderboard verify"}
    return run(system, dataset, [task], scratch / file_name(task), **options).records


def _measure(metric: str) -> str:
    """What a metric's name begins with: where CheXbert is missing, one withheld score stands for all of its columns."""
    return metric.partition(",")[0]


def _unable(record: Record, again: Record | None, lacking: Mapping[str, str]) -> str | None:
    """What is missing here to score a record again: its judge, its checker, or a tool such as Java; None where nothing is.
    What a rule withholds, such as CIDEr of few references, is no case of this: no machine gives the value that is stated.
    `lacking`: why a measure could not be computed here."""
    judge = record.signature.get("judge_weights")
    if judge is not None and (again is None or again.signature.get("judge_weights") != judge):
        return f"needs its judge, '{record.signature.get('judge')}'"
    for modality in ("image", "report"):
        chosen = _READ.format(modality, "label_map") in record.signature
        parts = [_READ.format(modality, part) for part in ("weights", "feed", "label_map", "thresholds_from")]
        if chosen and (again is None or any(again.signature.get(part) != record.signature.get(part) for part in parts)):
            return f"needs its checker, --checker {modality}={record.signature[f'{modality}_checker']}"
    blank = record.value is not None and (again is None or again.value is None)
    return lacking.get(_measure(record.metric)) if blank else None


def _difference(record: Record, again: Record | None) -> str | None:
    """What scoring again gives otherwise than a record states."""
    if again is None:
        return "scoring gives no such metric"
    tolerance = 1e-6 if SIGNATURE in record.signature else OTHER_MACHINE
    for field in ("value", "ci_low", "ci_high", "n", "coverage"):
        stated, now = record.model_dump()[field], again.model_dump()[field]
        same = stated == now or (None not in (stated, now) and math.isclose(stated, now, rel_tol=tolerance, abs_tol=1e-6))
        if not same:
            withheld = again if again.value is None else record if record.value is None else None
            why = f" ({withheld.reason})" if withheld is not None else ""
            return f"{field} {stated}, but the predictions give {now}{why}"
    return None
