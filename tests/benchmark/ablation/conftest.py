"""Two arms with two seeds as they lie on disk once they are trained and measured, without a training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmark.ablation.arms import chosen_arms
from benchmark.ablation.plan import Evaluation, Generation, Plan, make_plan
from medim.common.files import write_json, write_text
from medim.data.dataset import PairDataset
from medim.data.loading import load_dataset

PATIENTS = 30
TINY = (
    "torch_compile=false",
    "bf16=false",
    "train_limit=16",
    "eval_pairs=4",
    "eval_draws=1",
    "per_device_train_batch_size=4",
    "backbone.hidden_size=32",
    "backbone.num_hidden_layers=1",
    "backbone.intermediate_size=48",
    "save_steps=2",
    "eval_steps=1",
    "logging_steps=1",
)


@pytest.fixture(scope="session")
def phantom() -> PairDataset:
    return load_dataset("phantom")


@pytest.fixture(scope="session")
def plan_in() -> Callable[..., Plan]:
    return _plan_in


@pytest.fixture(scope="session")
def pretend() -> Callable[..., None]:
    return _pretend


def _plan_in(out: Path, arms: list[str], seeds: list[int], generation: Generation | None = None, steps: int = 2) -> Plan:
    return make_plan(
        chosen_arms(arms),
        seeds,
        TINY,
        preset="phantom-tiny",
        data="phantom",
        out=out,
        steps=steps,
        evaluation=Evaluation(pairs=4, draws=2),
        generation=generation,
        device="cpu",
    )


def _pretend(plan: Plan, fingerprint: str, shifts: dict[str, float]) -> None:
    """Folders as a training and its evaluation leave them: nats of 30 patients, the same for all arms but for a shift."""
    for job in plan.jobs:
        job.folder.mkdir(parents=True)
        recipe = job.recipe().model_dump()
        write_text(job.folder / "config.yaml", yaml.safe_dump({"recipe": recipe, "data_fingerprint": fingerprint}))
        write_json(job.folder / "training.json", {"recipe": recipe, "data_fingerprint": fingerprint})
        (job.folder / "model.safetensors").touch()
        nats = np.random.default_rng(job.seed).normal([300.0, 60.0], [10.0, 5.0], (PATIENTS, 2))
        nats[:, 1] += shifts[job.arm]
        lines = [f'{{"step": {step}, "eval_loss": {400 - step + shifts[job.arm]}}}\n' for step in (1, 2)]
        write_text(job.folder / "metrics.jsonl", "".join(lines))
        write_json(
            job.folder / "evaluation.json",
            {
                "settings": vars(job.evaluation),
                "data_fingerprint": fingerprint,
                "model_fingerprint": f"{job.name}",
                "image_tokenizer": "i",
                "report_tokenizer": "r",
                "canvas": {"image_tokens": 64, "report_tokens": 48},
                "patients": list(range(PATIENTS)),
                "report_tokens": [20] * PATIENTS,
                "truncated": 0,
                "nats": {condition: nats.tolist() for condition in ("joint", "report|image", "image|report")},
                "training": {
                    "parameters": 1_000_000,
                    "steps": 2,
                    "pairs_seen": 8,
                    "tokens_seen": 896,
                    "seconds_of_last_sitting": 1.5,
                },
            },
        )
        job.mark("evaluation")
