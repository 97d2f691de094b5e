"""Run folders in, one consistent collection of records out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from leaderboard.record import Record, read_records
from medim.common.declared import checked, read_table
from medim.common.errors import UserError
from medim.common.files import file_name, read_json
from medim.common.json_lines import read_models

MANIFEST, RECORDS = "manifest.json", "records.jsonl"
CONFIGURATION = (
    *("model", "model_fingerprint", "dataset", "dataset_fingerprint", "split", "synthetic", "settings", "seed"),
    *("protocol", "resolution", "limit", "features", "judge", "augmentation", "regime", "reference", "references"),
)
"""What a run is; the rest of its manifest (when, by which command, which tasks so far) may grow."""


class TaskCard(BaseModel):
    """What a table says of its task (`tasks.task.Task`)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    # title, intro: heading and first sentence of its table
    title: str
    intro: str = ""
    needs: list[str] = []  # the modalities that a system generates: image, report
    prompted: bool = True  # each sample answers its own case
    headline_metrics: list[str] = []  # the primary one first
    order: int = 1000  # place on the page, ascending


def card_of(task: str, stated: Mapping[str, TaskCard]) -> TaskCard:
    """The card of a task: `stated` by a manifest, else of `cards.yaml` (runs older than cards), else its bare name."""
    return stated.get(task) or CARDS.get(task) or TaskCard(title=task.replace("-", " ").capitalize())


CARDS = read_table(Path(__file__).with_name("cards.yaml"), dict[str, TaskCard])


class Manifest(BaseModel):
    """`manifest.json` of a run folder, as far as the page needs it; other keys are kept aside."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    run: str = Field(min_length=1)
    model: str
    model_fingerprint: str  # hash of the model's weights, or of its predictions
    dataset: str
    dataset_fingerprint: str  # hash of the data set's content and split
    split: str
    synthetic: bool
    terms: str | None  # licence or data-use terms of the data
    withhold_samples: bool  # images and reports must not be shown
    tasks: list[str]
    command: str
    commit: str | None
    created: str
    versions: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    # n, failures: how many cases the run had, where it says so, and how many samples failed
    n: int | None = Field(default=None, ge=0)
    failures: int = Field(default=0, ge=0)
    cards: dict[str, TaskCard] = Field(default_factory=dict)


def read_manifest(path: str | Path) -> Manifest:
    """Reads `manifest.json` of a run folder. Raises UserError where it is missing, broken or incomplete."""
    value = read_json(path, finite=True)
    return checked(Manifest, value if isinstance(value, dict) else {}, str(path))


def identity(manifest: Manifest, *more: str) -> dict[str, str]:
    """The configuration, and `more` fields of a manifest, as JSON text; what it does not state is left out."""
    values: dict[str, Any] = manifest.model_dump()
    return {name: json.dumps(values[name], sort_keys=True) for name in (*CONFIGURATION, *more) if values.get(name) is not None}


def contradictions(ours: Manifest, theirs: Manifest) -> list[tuple[str, str | None, str | None]]:
    """Where two manifests of one run id are of different runs or terms: field, what `ours` states, what `theirs` does."""
    one, other = (identity(manifest, "terms", "withhold_samples") for manifest in (ours, theirs))
    return [(name, one.get(name), other.get(name)) for name in one | other if one.get(name) != other.get(name)]


@dataclass(frozen=True)
class Run:
    """One run and its folders: mostly one, but a run may have a folder for each task."""

    manifest: Manifest
    folders: tuple[Path, ...]

    def joined(self, manifest: Manifest, folder: Path) -> "Run":
        """The run with one more of its folders. Raises UserError where that is of another configuration."""
        for name, ours, theirs in contradictions(manifest, self.manifest):
            raise UserError(
                f"{folder / MANIFEST}: field '{name}': {ours}, but run '{manifest.run}' has {theirs} in "
                f"{self.folders[0] / MANIFEST}: two runs under one id; leave one of them out"
            )
        tasks = list(dict.fromkeys([*self.manifest.tasks, *manifest.tasks]))
        update = {"tasks": tasks, "cards": manifest.cards | self.manifest.cards}
        return Run(self.manifest.model_copy(update=update), tuple(dict.fromkeys([*self.folders, folder])))

    def samples(self, task: str, system: str) -> Path:
        """The folder of a system's samples on a task, in the first of the run's folders that has them."""
        found = [folder / "samples" / task / system for folder in self.folders]
        return next((path for path in found if (path / "samples.jsonl").is_file()), found[0])


@dataclass(frozen=True)
class Collection:
    """All records, without duplicates, and the runs that they come from (`runs[record.run]`)."""

    records: list[Record]
    runs: dict[str, Run]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the data, by run."""
        return {name: run.manifest.dataset_fingerprint for name, run in self.runs.items()}

    @property
    def cards(self) -> dict[str, TaskCard]:
        """The cards of tasks that the manifests state, the first run's where several do."""
        return {task: card for run in reversed(self.runs.values()) for task, card in run.manifest.cards.items()}


def collect(folders: Sequence[str | Path]) -> Collection:
    """Reads run folders and merges their records, in the order of the folders, then of the lines.

    Folders of one run id are parts of one run, which has all their tasks.

    Raises UserError: a folder without manifest or records, a bad line, a record that belongs to another run or data set than
    the manifest names, one run id of two configurations, or two different values for one key.
    """
    runs: dict[str, Run] = {}
    found: list[tuple[str, Record]] = []
    for folder in map(Path, folders):
        manifest = read_manifest(folder / MANIFEST)
        known = runs.get(manifest.run)
        runs[manifest.run] = known.joined(manifest, folder) if known else Run(manifest, (folder,))
        path = folder / RECORDS
        for record in read_records(path):
            for field in ("run", "dataset", "split", "synthetic"):
                ours, theirs = getattr(record, field), getattr(manifest, field)
                if ours != theirs:
                    what = f"{record.task}/{record.metric} of '{record.model}'"
                    raise UserError(f"{path}: {what}: {field} {ours!r} but the manifest says {theirs!r}")
            found.append((str(path), record))
    return Collection(merge(found), runs)


def run_folders(path: str | Path) -> list[Path]:
    """The run folders in and below a folder, by name; only itself where it is one. Names with a dot are passed over."""
    path = Path(path)
    if (path / RECORDS).is_file():
        return [path]
    folders = [file.parent for file in path.rglob(RECORDS) if (file.parent / MANIFEST).is_file()]
    return sorted(f for f in folders if not any(part.startswith(".") for part in f.relative_to(path).parts))


def merge(found: Iterable[tuple[str, Record]]) -> list[Record]:
    """Drops records met before, of pairs of (where the record stands, record).
    Raises UserError: two records of one key disagree in value, interval, n or coverage; names both places."""
    kept: dict[tuple[str | int | None, ...], tuple[str, Record]] = {}
    for where, record in found:
        first_where, first = kept.setdefault(record.key, (where, record))
        for field in ("value", "ci_low", "ci_high", "n", "coverage"):
            before, after = getattr(first, field), getattr(record, field)
            if before != after:
                raise UserError(
                    f"{where}: conflicts with {first_where}: {record.task}/{record.metric} of '{record.model}' on "
                    f"{record.dataset}/{record.split}, seed {record.seed}, run {record.run}: {field} {after} against {before}"
                )
    return [record for _, record in kept.values()]


# --- samples -----------------------------------------------------------------------------------------------------------------


class Sample(BaseModel):
    """One generated case of a run, a line of `samples.jsonl`; image paths are resolved and lie inside the run folder."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    image: Path | None = None
    report: str | None = None
    prompt: str | None = None
    reference_image: Path | None = None
    reference_report: str | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    domain: str | None = None

    @field_validator("scores", mode="before")
    @classmethod
    def _without_missing(cls, scores: dict[str, float | None]) -> dict[str, float]:
        return {name: score for name, score in scores.items() if score is not None}


def systems_of(run: Run) -> list[tuple[str, str]]:
    """The (task, folder of a system) pairs that have samples, the run's model first, then by name."""
    files = (path for folder in run.folders for path in (folder / "samples").glob("*/*/samples.jsonl"))
    pairs = {(path.parent.parent.name, path.parent.name) for path in files}
    return sorted(pairs, key=lambda pair: (pair[0], pair[1] != file_name(run.manifest.model), pair[1]))


def read_samples(run: Run, task: str, system: str) -> list[Sample]:
    """The samples of one system on one task. Raises UserError for a broken line, or a path that leaves the run folder."""
    folder = run.samples(task, system)
    root = folder.parents[2].resolve()
    samples = []
    for where, sample in read_models(folder / "samples.jsonl", Sample):
        paths = {"image": sample.image, "reference_image": sample.reference_image}
        resolved = {name: path and (folder / path).resolve() for name, path in paths.items()}
        for name, path in resolved.items():
            if path is not None and not path.is_relative_to(root):
                raise UserError(f"{where}: field '{name}': '{paths[name]}' leaves the run folder")
        samples.append(sample.model_copy(update=resolved))
    return samples
