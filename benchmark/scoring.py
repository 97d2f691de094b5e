"""The score stage: a model and the anchors of one task, each scored once for the same inputs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from PIL import Image

from benchmark.artifacts import Artifacts
from benchmark.predictions import PredictionStore, file_name
from benchmark.provenance import code_fingerprint, now
from benchmark.samples import ANCHOR_IMAGES, SAMPLES, write_samples
from benchmark.statistics_store import SIGNATURE, lost_statistics, write_statistics
from medim.data.dataset import PairDataset
from tasks.cases import cases_of
from tasks.context import Context
from tasks.protocols import Case, Prediction, Reconstructs, Score, Task

TRAIN_PER_CASE = 4
UNPAIRED = ("joint-generation",)  # unprompted samples answer no case


@dataclass(frozen=True)
class Data:
    """The cases of a run, and what scoring needs beside them (built when something is scored)."""

    dataset: PairDataset
    split: str
    resolution: int
    cases: list[Case]
    seed: int
    device: str | None

    @cached_property
    def ids(self) -> list[str]:
        return [case.id for case in self.cases]

    @cached_property
    def context(self) -> Context:
        return Context.for_dataset(self.dataset, self.device or "cpu", self.seed)

    @cached_property
    def train(self) -> list[Case]:
        """Training cases for the anchors to choose from, balanced over domains as they need."""
        if not self.dataset.size("train"):
            return []
        return cases_of(self.dataset, "train", self.resolution, TRAIN_PER_CASE * len(self.cases))

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What every score depends on, beside the predictions."""
        checkers = [self.dataset.image_checker(), self.dataset.report_checker()]
        return {
            "data": self.dataset.fingerprint, "split": self.split, "resolution": self.resolution, "seed": self.seed,
            "cases": self.ids, "checkers": [checker and checker.fingerprint for checker in checkers],
            "metrics": code_fingerprint("tasks"),
        }  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """The scores of one system on one task.

    Attributes:
        scores: fields of `tasks.protocols.Score`, by name.
        command, commit, created: of the command that scored, which may be an earlier one.
        generated_by: commits of the code that generated, which may be older than the one that scored; empty for an anchor.
    """

    task: str
    system: str
    anchor: bool
    scores: list[dict[str, Any]]
    command: str
    commit: str
    created: str
    generated_by: list[str]


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
        inputs = {**self.data.inputs, "predictions": store.fingerprint(self.data.ids)}
        done = self._done(task.name, system, inputs, anchor=False)
        if done is not None:
            return done
        predictions = store.predictions(self.data.ids)
        return self._score(task, system, inputs, predictions, None, store.commits(self.data.ids), anchor=False)

    def model_if_done(self, task: str, system: str) -> Scored | None:
        """The model's scores from an earlier command, where they still hold."""
        store = PredictionStore(self.folder(task, system))
        return self._done(task, system, {**self.data.inputs, "predictions": store.fingerprint(self.data.ids)}, anchor=False)

    def anchors(self, task: Task, reconstructs: Reconstructs | None, tokenizer: str | None) -> list[Scored]:
        """The anchors' scores; `tokenizer` is the fingerprint of what `reconstructs`."""
        inputs = {**self.data.inputs, "tokenizer": tokenizer}
        done = self.anchors_if_done(task.name, tokenizer)
        if done is not None:
            return done
        anchors = task.anchors(self.data.cases, self.data.train, reconstructs, self.data.seed)
        scored = [
            self._score(task, anchor.name, inputs, anchor.predictions, anchor.population, [], anchor=True) for anchor in anchors
        ]
        self.artifacts.put(f"anchors-{task.name}", inputs, [anchor.name for anchor in anchors])
        return scored

    def anchors_if_done(self, task: str, tokenizer: str | None) -> list[Scored] | None:
        """The anchors' scores from an earlier command, where all of them still hold."""
        inputs = {**self.data.inputs, "tokenizer": tokenizer}
        names = self.artifacts.get(f"anchors-{task}", inputs)
        found = [self._done(task, name, inputs, anchor=True) for name in names or []]
        return None if names is None or None in found else [scored for scored in found if scored is not None]

    def _done(self, task: str, system: str, inputs: Mapping[str, Any], anchor: bool) -> Scored | None:
        if not (self.folder(task, system) / SAMPLES).exists():
            return None
        value = self.artifacts.get(_stage(task, system), inputs)
        if value is None or lost_statistics(self.artifacts.out, value["scores"]):
            return None
        return Scored(task, system, anchor, **value)

    def _score(
        self,
        task: Task,
        system: str,
        inputs: Mapping[str, Any],
        predictions: Sequence[Prediction],
        population: Sequence[Image.Image] | None,
        generated_by: list[str],
        anchor: bool,
    ) -> Scored:
        click.echo(f"{task.name}: scoring {system}", err=True)
        scores, samples = task.score(self.data.cases, predictions, self.data.context, population)
        finite = [{name: float(value) for name, value in sample.items() if math.isfinite(value)} for sample in samples]
        write_samples(
            self.folder(task.name, system), self.data.cases, predictions, finite,
            paired=task.name not in UNPAIRED, images=ANCHOR_IMAGES if anchor else None,
        )  # fmt: skip
        kept = write_statistics(self.artifacts.out, self.data.cases, scores, self.data.seed, system, task.name)
        value: dict[str, Any] = {
            "scores": [_plain(score, kept.get(score.metric)) for score in scores], "command": self.command,
            "commit": self.commit, "created": now(), "generated_by": generated_by,
        }  # fmt: skip
        self.artifacts.put(_stage(task.name, system), inputs, value)
        return Scored(task.name, system, anchor, **value)


def _stage(task: str, system: str) -> str:
    return f"score-{task}-{file_name(system)}"


def _plain(score: Score, kept: dict[str, str] | None) -> dict[str, Any]:
    """The score as JSON-able fields; a value that is no number is withheld and says so. `kept`: where its sums are."""
    value, reason = score.value, score.reason
    if value is not None and not math.isfinite(value):
        value, reason = None, f"the metric gave {value}"
    signature = dict(score.signature) | ({SIGNATURE: kept} if kept else {})
    interval = [None if value is None or end is None else float(end) for end in (score.ci_low, score.ci_high)]
    return {
        "metric": score.metric, "value": None if value is None else float(value), "n": int(score.n),
        "coverage": float(score.coverage), "higher_is_better": score.higher_is_better, "signature": signature,
        "ci_low": interval[0], "ci_high": interval[1], "reason": reason,
    }  # fmt: skip
