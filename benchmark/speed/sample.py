"""Samplers of one model side by side: how fast they are here, what they compute, and what their samples are worth.

    samples/s      1 / median over samples of a batch's wall time by its samples: decoding, image tokenizer and all
    FLOPs          of the denoiser's matrix products, from its shapes (`medim.sampling.cost`)
    share of roof  FLOPs a second over those of one large matrix product in the same type, timed just before the sampler

Each sampler's samples are kept as they are drawn and its figures once it is scored, so a killed command goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmark.results.provenance import commit
from benchmark.run.artifacts import Artifacts
from benchmark.run.data import Data
from benchmark.run.generation import Failure, generate_missing
from benchmark.run.predictions import PredictionStore
from benchmark.speed.sample_scores import HEADLINES, scores_of
from benchmark.speed.train import ROOF_SIDE, matmul_seconds
from medim.common.files import file_name
from medim.pipeline import MeDiMPipeline
from tasks import task_named
from tasks.protocols import Case, Prediction
from tasks.scoring.scores import Score

KEPT = ("joint agreement", "finding MCC", "macro finding F1", "max ", "domain ")
"""Scores that stand in the table begin so."""


@dataclass(frozen=True)
class Bench:
    """One model's samplers on one split.

    Attributes:
        data: the cases, and what scores them.
        artifacts: of the command's folder.
        batch_size: samples drawn at once.
        bf16: run the denoiser in bfloat16, by autocast.
    """

    data: Data
    artifacts: Artifacts
    batch_size: int
    device: str
    bf16: bool = False

    @property
    def dtype(self) -> str:
        return "bf16" if self.bf16 else "fp32"

    def folder(self, task: str, name: str) -> Path:
        """Where a sampler's samples are kept."""
        return self.artifacts.out / "samples" / task / file_name(name)

    def warm_up(self, system: MeDiMPipeline) -> None:
        """The first call loads kernels: it is no sampler's."""
        self.generate("joint-generation", system, self.data.cases[:2], [0, 1])

    def draw(self, task: str, name: str, system: MeDiMPipeline) -> tuple[PredictionStore, list[Failure]]:
        """Every sample that is not there yet. Of one case the seed is the same in all samplers."""
        store = PredictionStore(self.folder(task, name), commit=commit())
        failures = generate_missing(
            store, self.data.cases, partial(self.generate, task, system), task=task, system=name, seed=self.data.seed,
            batch_size=self.batch_size,
        )  # fmt: skip
        return store, failures

    def generate(self, task: str, system: MeDiMPipeline, cases: Sequence[Case], seeds: Sequence[int]) -> list[Prediction]:
        """One batch, in the type that is asked for."""
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.bf16):
            return task_named(task).generate(system, cases, list(seeds)[: len(cases)])

    def scores(self, task: str, store: PredictionStore) -> dict[str, Score]:
        """Scores of what was drawn, by metric."""
        return scores_of(task, self.data.cases, store.predictions(self.data.ids), self.data.context)

    def roof(self) -> float:
        """FLOP/s of a large matrix product, now."""
        return 2 * ROOF_SIDE**3 / matmul_seconds(self.device, self.bf16)


def speed_of(costs: Sequence[Mapping[str, float]], tokens: int, roof: float) -> dict[str, float]:
    """Figures of one sampler from the costs of its samples.

    Args:
        tokens: generated for each sample.
        roof: FLOP/s.
    """
    seconds = median(cost["seconds"] for cost in costs)
    flops, computed, forwards = (
        sum(cost[key] for cost in costs) / len(costs) for key in ("flops", "active_tokens", "forwards")
    )
    return {
        "samples_per_second": 1 / seconds, "tokens_per_second": tokens / seconds, "seconds_per_sample": seconds,
        "flops_per_sample": flops, "forwards": forwards, "active_tokens": computed, "roof_share": flops / seconds / roof,
    }  # fmt: skip


def measure_sampler(
    bench: Bench, name: str, system: MeDiMPipeline, tasks: Sequence[str]
) -> tuple[dict[str, Any] | None, list[Failure]]:
    """A sampler's row, as `OUT/stages/sampler-NAME.json` keeps it; None, and the failures, where a sample failed.

    The row: `name`, `settings`, `roof` (FLOP/s), and for each task `speed` (`speed_of`) and `scores`: value, low, high, reason.
    """
    stage, inputs = f"sampler-{file_name(name)}", {"settings": system.settings(), "tasks": tasks, **bench.data.inputs}
    present = bench.artifacts.get(stage, inputs)
    if present is not None:
        return dict(present), []
    row: dict[str, Any] = {"name": name, "settings": system.settings(), "roof": bench.roof(), "tasks": {}}
    for task in tasks:
        store, failures = bench.draw(task, name, system)
        if failures:
            return None, failures
        costs = [store.lines[id]["cost"] for id in bench.data.ids]
        row["tasks"][task] = {
            "speed": speed_of(costs, generated_tokens(system, task), row["roof"]),
            "scores": {m: _plain(score) for m, score in bench.scores(task, store).items() if m.startswith(KEPT)},
        }
    bench.artifacts.put(stage, inputs, row)
    return row, []


def generated_tokens(system: MeDiMPipeline, task: str) -> int:
    """Tokens that a task's sample has generated."""
    layout = system.model.config.layout
    image, report = layout.image_length, layout.report_length
    return {"joint-generation": image + report, "image-generation": image, "report-generation": report}[task]


def line_of(row: Mapping[str, Any]) -> str:
    """A sampler's row in a line for each task."""
    lines = []
    for task, found in row["tasks"].items():
        speed, score = found["speed"], found["scores"][HEADLINES[task]]
        worth = "withheld" if score["value"] is None else f"{score['value']:.3f}"
        lines.append(
            f"{row['name']:<22}{task:<18}{speed['samples_per_second']:8.2f} samples/s{speed['tokens_per_second']:9.0f} tokens/s"
            f"{speed['flops_per_sample'] / 1e9:9.2f} GFLOP a sample{speed['roof_share']:7.1%} of the roof"
            f"   {HEADLINES[task]} {worth}"
        )
    return "\n".join(lines)


def _plain(score: Score) -> dict[str, Any]:
    return {"value": score.value, "low": score.ci_low, "high": score.ci_high, "reason": score.reason}
