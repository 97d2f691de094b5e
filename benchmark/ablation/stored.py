"""What an ablation left on disk, read again: evaluations by arm and seed, and the scores of their samples."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.ablation.arms import Arm
from benchmark.ablation.likelihood import EVALUATION
from benchmark.ablation.plan import RUN, Job, Plan
from benchmark.results.statistics_store import SIGNATURE, read_statistics
from leaderboard.record import Record, read_records
from medim.common.errors import UserError
from tasks.metrics.statistics.additive import Additive

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Trained:
    """One trained and measured arm with one seed.

    Attributes:
        evaluation: `evaluation.json`.
        run: folder of its samples and their scores; None where none were asked for, or they are not done.
    """

    job: Job
    evaluation: Mapping[str, Any]
    run: Path | None

    @cached_property
    def curve(self) -> list[dict[str, float]]:
        """The lines of `metrics.jsonl`."""
        path = self.job.folder / METRICS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]

    @cached_property
    def records(self) -> dict[tuple[str, str], Record]:
        """What was measured of the samples, by task and metric."""
        if self.run is None:
            return {}
        return {(r.task, r.metric): r for r in read_records(self.run / "records.jsonl") if r.kind == "measured"}

    def sums(self, record: Record) -> Additive | None:
        """The sums by patient behind a record; None of a metric that is no function of such."""
        where = record.signature.get(SIGNATURE)
        if where is None or self.run is None:
            return None
        return read_statistics(self.run / where["file"])[where["key"]].additive


@dataclass(frozen=True)
class Measured:
    """An arm with what is done of it, by seed; `seeds` may be empty."""

    arm: Arm
    seeds: Mapping[int, Trained]

    @property
    def first(self) -> Trained:
        return next(iter(self.seeds.values()))


def read_plan(plan: Plan, fingerprint: str) -> list[Measured]:
    """All arms of a plan, each with the seeds that are trained and measured as the plan says.

    Raises:
        UserError: a folder holds another training, or a damaged file.
    """
    return [
        Measured(arm, {job.seed: found for job in plan.jobs_of(arm.name) if (found := _read(job, fingerprint)) is not None})
        for arm in plan.arms
    ]


def _read(job: Job, fingerprint: str) -> Trained | None:
    missing = job.missing(fingerprint)
    path = job.folder / EVALUATION
    if "training" in missing or "evaluation" in missing or not path.is_file():
        return None
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        if evaluation["settings"] != asdict(job.evaluation):
            return None
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it, it is made again") from error
    sampled = job.generation is not None and "generation" not in missing
    return Trained(job, evaluation, job.folder / RUN if sampled else None)
