"""One downstream training for each arm and seed, its answers and scores: one JSON file each, and nothing done twice."""

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmark.augmentation.added_pairs import content_of
from benchmark.provenance import code_fingerprint
from benchmark.run.artifacts import Artifacts
from benchmark.run.data import report_files
from benchmark.run.generation import sample_seed
from benchmark.run.scoring import plain_score
from benchmark.run.stored_sums import lost_statistics, read_statistics, write_statistics
from medim.common.files import hash_of, write_json
from tasks.augmentation.arms import Arm, Pools, training_of
from tasks.augmentation.comparison import Answers, answers_of, score_answers
from tasks.augmentation.settings import AugmentationSettings
from tasks.downstream.contract import Downstream, Example
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Cases
from tasks.scoring.context import Context

ARMS_FOLDER = "arms"
CURVE = "metrics.jsonl"


@dataclass(frozen=True)
class Result:
    arm: Arm
    seed: int
    scores: dict[str, dict[str, Any]]  # fields of `tasks.scoring.scores.Score` by metric, JSON-able
    # the sums that the scores are functions of, by metric, in one order of the patients for every result
    sums: dict[str, Additive]
    samples: list[dict[str, float]]  # per-sample scores, in the cases' order
    answers: Answers
    # what was trained on what, for how long: `examples`, `added`, `steps`, `augment`, `fitted`, `seconds`
    training: dict[str, Any]


@dataclass
class Trainings:
    artifacts: Artifacts
    downstream: Downstream
    settings: AugmentationSettings
    pools: Pools  # what arms are composed of
    validation: Sequence[Example]  # real pairs that choose the step
    cases: Cases  # what is tested on
    context: Context
    task: str
    seed: int  # of the shuffled arm and of what is drawn for the test cases

    @cached_property
    def code(self) -> str:
        """Hash of the code that scores, and of the files that it reads."""
        return hash_of([code_fingerprint("tasks"), report_files(self.context.protocol)])

    def run(self, arms: Sequence[Arm]) -> list[Result]:
        """Every arm with every seed, seed by seed, so that a run that is stopped has whole comparisons."""
        todo = [(seed, arm) for seed in self.settings.seeds for arm in arms]
        pools = ("real", "further", "synthetic", "pseudo", "placebo")
        fixed = {
            "pools": {name: content_of(getattr(self.pools, name)) for name in pools},
            "validation": content_of(self.validation),
            "downstream": self.downstream.name,
            "evaluate_every": self.settings.evaluate_every,
            "cases": hash_of([case.id for case in self.cases]),
        }
        results = []
        with tqdm(todo, desc="augmentation: arms", unit="training", file=sys.stderr) as progress:
            for seed, arm in progress:
                progress.set_postfix_str(f"{arm.name}, seed {seed}")
                results.append(self._one(arm, seed, fixed))
        return results

    def _one(self, arm: Arm, seed: int, fixed: Mapping[str, Any]) -> Result:
        training = training_of(arm, self.pools, self.settings.steps, self.seed)
        length = {"added": training.added, "steps": training.steps, "augment": training.augment}
        trained: dict[str, Any] = {"examples": len(training.examples), **length}
        key = hash_of([fixed, arm.name, seed, self.seed, trained, "training"])
        path = self.artifacts.out / ARMS_FOLDER / arm.folder / f"seed-{seed}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if kept.get("key") != key:
            folder = path.with_suffix("")
            start = time.perf_counter()
            every = min(self.settings.evaluate_every, training.steps)
            options: dict[str, Any] = {"steps": training.steps, "augment": training.augment, "evaluate_every": every}
            fitted = self.downstream.fit(training.examples, self.validation, seed=seed, out=folder, **options)
            seeds = [sample_seed(seed, "augmentation", case.id) for case in self.cases]
            answers = answers_of(fitted, self.cases, seeds)
            trained["fitted"] = {"name": fitted.name, "fingerprint": fitted.fingerprint, "settings": fitted.settings()}
            trained["seconds"] = round(time.perf_counter() - start, 1)
            lines = answers.as_lines([case.id for case in self.cases])
            kept = {"key": key, "arm": arm.name, "seed": seed, "training": trained, **lines}
            write_json(path, kept)
            if not self.settings.keep_models:
                _keep_curve(folder)
        return self._scored(arm, seed, path, kept)

    def _scored(self, arm: Arm, seed: int, path: Path, kept: dict[str, Any]) -> Result:
        """Scores the answers, unless this code did so before."""
        answers = Answers.from_lines(kept)
        key = hash_of([self.code, self.context.protocol, self.context.seed])
        scores = kept.get("scores", [])
        if kept.get("scored_by") != key or lost_statistics(self.artifacts.out, scores):
            found, samples = score_answers(self.cases, answers, self.context)
            system = f"{arm.folder} seed {seed}"
            names = write_statistics(self.artifacts.out, self.cases, found, self.context.seed, system, self.task)
            scores = [plain_score(score, names.get(score.metric)) for score in found]
            kept |= {"scored_by": key, "scores": scores, "samples": samples}
            write_json(path, kept)
        sums: dict[str, Additive] = {}
        where = next((score["signature"]["statistics"] for score in scores if "statistics" in score["signature"]), None)
        if where is not None:
            statistics = read_statistics(self.artifacts.out / where["file"])
            sums = {metric: statistic.additive for metric, statistic in statistics.items()}
        by_metric = {score["metric"]: score for score in scores}
        return Result(arm, seed, by_metric, sums, kept["samples"], answers, kept["training"])


def _keep_curve(folder: Path) -> None:
    """Leaves the curve of a training, and nothing else of it."""
    for child in folder.iterdir() if folder.is_dir() else ():
        if child.name != CURVE:
            shutil.rmtree(child) if child.is_dir() else child.unlink()
