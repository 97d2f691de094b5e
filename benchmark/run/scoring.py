"""The score stage: a model and the anchors of one task, each scored once for the same inputs."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmark.provenance import now
from benchmark.run.artifacts import Artifacts
from benchmark.run.data import TRAIN_PER_CASE, Data
from benchmark.run.exhibits import lacks_sheet, write_exhibition
from benchmark.run.predictions import ANCHOR_IMAGES, SAMPLES, PredictionStore, write_samples
from benchmark.run.stored_sums import SIGNATURE, lost_statistics, statistics_file, write_statistics
from medim.common.files import atomic_path, file_name, hash_of
from tasks import task_version
from tasks.cases import has_images
from tasks.protocols import Case, Prediction, Reconstructs
from tasks.scoring.extensions import extra_scores
from tasks.scoring.findings import checker_scores
from tasks.scoring.isolated import isolated_scores
from tasks.scoring.scores import FAILED, Score
from tasks.task import Anchor, Task

REAL = "real"  # the anchor that says how well a chosen checker reads
RECONSTRUCTION = "reconstruction"  # the one anchor that depends on the system under test


@dataclass(frozen=True)
class Scored:
    """The scores of one system on one task. `scores`: fields of `tasks.scoring.scores.Score`, by name. `command`, `commit`,
    `created`: of the command that scored, which may be an earlier one. `generated_by`: commits of the code that generated,
    which may be older than the one that scored; empty for an anchor."""

    task: str
    system: str
    anchor: bool
    scores: list[dict[str, Any]]
    command: str
    commit: str
    created: str
    generated_by: list[str]

    @property
    def failed(self) -> bool:
        """Whether code that is not ours failed to give a score: the same command tries again."""
        return any(FAILED in score["signature"] for score in self.scores)


class Scoring:
    """Scores the systems of a run, and remembers in its `--out` what is scored already."""

    def __init__(self, artifacts: Artifacts, data: Data, *, command: str, commit: str) -> None:
        self.artifacts = artifacts
        self.data = data
        self.command = command
        self.commit = commit

    def folder(self, task: str, system: str) -> Path:
        return self.artifacts.out / "samples" / task / file_name(system)

    def model(self, task: Task, system: str, store: PredictionStore) -> Scored:
        """The model's scores over all its predictions; what it failed to give counts as missing."""
        inputs = self._inputs(task.name, store)
        done = self._done(task.name, system, inputs, anchor=False)
        if done is not None and not done.failed:
            return done
        predictions = store.predictions(self.data.ids)
        return self._score(task, system, inputs, predictions, None, store.commits(self.data.ids), anchor=False)

    def model_if_done(self, task: str, system: str) -> Scored | None:
        """The model's scores from an earlier command, where they still hold."""
        store = PredictionStore(self.folder(task, system))
        return self._done(task, system, self._inputs(task, store), anchor=False)

    def anchors(self, task: Task, reconstructs: Reconstructs | None, tokenizer: str | None) -> list[Scored]:
        """The anchors' scores; `tokenizer` is the fingerprint of what `reconstructs`. They come from this folder, else from the
        cache of other runs, else they are computed: the reconstruction for its tokenizer, all others once for every system."""
        bundles = [self._bundle_if_there(task.name, tokenizer, own) for own in (False, True)]
        again = [bundle is None or any(anchor.failed for anchor in bundle) for bundle in bundles]
        if any(again):
            images = "image" not in task.needs or has_images(self.data.dataset)  # else no anchor has one
            built = task.anchors(self.data.cases, self.data.train, reconstructs, self.data.seed) if images else []
            for own in (False, True):
                if again[own]:
                    chosen = [anchor for anchor in built if (anchor.name == RECONSTRUCTION) == own]
                    bundles[own] = self._scored_bundle(task, tokenizer, own, chosen)
        return _in_order(*(bundle or [] for bundle in bundles))

    def anchors_if_done(self, task: str, tokenizer: str | None) -> list[Scored] | None:
        """The anchors' scores from an earlier command of this folder, where all of them still hold."""
        shared, own = (self._bundle_if_done(task, tokenizer, own) for own in (False, True))
        return None if shared is None or own is None else _in_order(shared, own)

    def _inputs(self, task: str, store: PredictionStore | None = None) -> dict[str, Any]:
        """What scores of a task depend on."""
        version, inputs = task_version(task), dict(self.data.inputs)
        if version is not None:
            inputs["task"] = version
        if store is not None:
            inputs["predictions"] = store.fingerprint(self.data.ids)
        return inputs

    def _anchor_inputs(self, task: str, tokenizer: str | None, own: bool) -> dict[str, Any]:
        return {**self._inputs(task), "tokenizer": tokenizer if own else None, "train": TRAIN_PER_CASE}

    def _bundle_if_done(self, task: str, tokenizer: str | None, own: bool) -> list[Scored] | None:
        inputs = self._anchor_inputs(task, tokenizer, own)
        names = self.artifacts.get(_bundle(task, own), inputs)
        found = [self._done(task, name, inputs, anchor=True) for name in names or []]
        return None if names is None or None in found else [scored for scored in found if scored is not None]

    def _bundle_if_there(self, task: str, tokenizer: str | None, own: bool) -> list[Scored] | None:
        """A bundle of this folder, else of the cache."""
        done = self._bundle_if_done(task, tokenizer, own)
        if done is not None or self.data.cache is None:
            return done
        inputs = self._anchor_inputs(task, tokenizer, own)
        values = self.data.cache.take(_entry(task, own, inputs), self.artifacts.out)
        if values is None:
            return None
        for name, value in values:
            self.artifacts.put(_stage(task, name), inputs, value)
        self.artifacts.put(_bundle(task, own), inputs, [name for name, _ in values])
        return self._bundle_if_done(task, tokenizer, own)

    def _scored_bundle(self, task: Task, tokenizer: str | None, own: bool, anchors: Sequence[Anchor]) -> list[Scored]:
        inputs = self._anchor_inputs(task.name, tokenizer, own)
        scored = []
        for anchor in anchors:
            done = self._done(task.name, anchor.name, inputs, anchor=True)  # a killed command had come so far
            if done is None or done.failed:
                done = self._score(task, anchor.name, inputs, anchor.predictions, anchor.population, [], anchor=True)
            scored.append(done)
        names = [one.system for one in scored]
        self.artifacts.put(_bundle(task.name, own), inputs, names)
        if self.data.cache is not None and not any(one.failed for one in scored):
            files = [path for name in names for path in self._files(task.name, name)]
            values = [[name, self.artifacts.get(_stage(task.name, name), inputs)] for name in names]
            self.data.cache.keep(_entry(task.name, own, inputs), self.artifacts.out, files, values)
        return scored

    def _files(self, task: str, anchor: str) -> Iterator[Path]:
        """All that scoring an anchor wrote: samples, those references that they show, statistics."""
        folder = self.folder(task, anchor)
        yield from sorted(path for path in folder.rglob("*") if path.is_file())
        for text in (folder / SAMPLES).read_text(encoding="utf-8").split("\n"):
            if text and (reference := json.loads(text)["reference_image"]) is not None:
                yield folder.parent / Path(reference).relative_to("..")
        statistics = self.artifacts.out / statistics_file(task, anchor)
        if statistics.is_file():
            yield statistics

    def _done(self, task: str, system: str, inputs: Mapping[str, Any], anchor: bool) -> Scored | None:
        if not (self.folder(task, system) / SAMPLES).exists():
            return None
        value = self.artifacts.get(_stage(task, system), inputs)
        if value is None or lost_statistics(self.artifacts.out, value["scores"]):
            return None
        if lacks_sheet(self.folder(task, system), self.data.shows):
            return None
        return Scored(task, system, anchor, **value)

    def _score(
        self,
        task: Task,
        system: str,
        inputs: Mapping[str, Any],
        predictions: Sequence[Prediction],
        population: Sequence[Case] | None,
        generated_by: list[str],
        anchor: bool,
    ) -> Scored:
        click.echo(f"{task.name}: scoring {system}", err=True)
        data, folder = self.data, self.folder(task.name, system)
        scores, samples = task.score(data.cases, predictions, data.context, population)
        if anchor and system == REAL and any("image_checker" in score.signature for score in scores):
            scores = [*scores, *checker_scores(data.cases, data.context)]
        scores = [*scores, *isolated_scores(task.name, data.cases, predictions, data.context)]
        scores = [*scores, *extra_scores(task.name, data.cases, predictions, data.context, scores)]
        finite = [{name: float(value) for name, value in sample.items() if math.isfinite(value)} for sample in samples]
        domains = None if task.prompted else data.read_domains([one.report for one in predictions])
        images = 0 if not has_images(data.dataset) else ANCHOR_IMAGES if anchor else None
        write_samples(folder, data.cases, predictions, finite, paired=task.prompted, images=images, domains=domains)
        exhibition = task.exhibit(data.cases, predictions, data.context)
        if exhibition is not None:
            write_exhibition(folder, exhibition, data.shows)
        for name, content in task.pictures(data.cases, predictions, data.context).items():
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(content)
        stored = write_statistics(self.artifacts.out, data.cases, scores, data.seed, system, task.name)
        value: dict[str, Any] = {"scores": [plain_score(score, stored.get(score.metric)) for score in scores]}
        value |= {"command": self.command, "commit": self.commit, "created": now(), "generated_by": generated_by}
        value = json.loads(json.dumps(value, sort_keys=True))  # as a later command will read it: records do not depend on which
        self.artifacts.put(_stage(task.name, system), inputs, value)
        return Scored(task.name, system, anchor, **value)


def _stage(task: str, system: str) -> str:
    return f"score-{task}-{file_name(system)}"


def _bundle(task: str, own: bool) -> str:
    return f"{RECONSTRUCTION if own else 'anchors'}-{task}"


def _entry(task: str, own: bool, inputs: Mapping[str, Any]) -> str:
    return hash_of([_bundle(task, own), inputs])


def _in_order(shared: list[Scored], own: list[Scored]) -> list[Scored]:
    """real, reconstruction, shuffled, ..."""
    return [*shared[:1], *own, *shared[1:]]


def plain_score(score: Score, stored: dict[str, str] | None) -> dict[str, Any]:
    """The score as JSON-able fields; a value that is no number is withheld and says so. `stored`: where its sums are."""
    value, reason = score.value, score.reason
    if value is not None and not math.isfinite(value):
        value, reason = None, f"the metric gave {value}"
    ends = {"ci_low": score.ci_low, "ci_high": score.ci_high}
    return {
        "metric": score.metric,
        "value": None if value is None else float(value),
        "n": int(score.n),
        "coverage": float(score.coverage),
        "higher_is_better": score.higher_is_better,
        "signature": dict(score.signature) | ({SIGNATURE: stored} if stored else {}),
        **{name: None if value is None or end is None else float(end) for name, end in ends.items()},
        "reason": reason,
    }
