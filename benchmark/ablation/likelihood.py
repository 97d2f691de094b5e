"""The likelihood of one trained arm: nats of each validation pair, under noise that is the same for all arms."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.ablation.plan import TRAINING, Evaluation
from medim.common.files import write_json
from medim.common.locks import LOCK, locked
from medim.data.dataset import PairDataset, keys_of
from medim.data.tokens.cache import TokenSplit, tokenise_split
from medim.likelihood.bound import CONDITIONS, likelihood
from medim.pipeline import MeDiMPipeline

EVALUATION = "evaluation.json"
BATCH = 32


def evaluate(folder: Path, dataset: PairDataset, settings: Evaluation, cache: Path, device: str | None) -> None:
    """Writes `evaluation.json` beside a training: nats per sample and condition, and what the training cost.

    Patients are running numbers: no name of a patient or of a pair is kept.

    Raises:
        UserError: a model that cannot be loaded, a split without pairs.
    """
    pipeline = MeDiMPipeline.from_pretrained(folder, device)
    with locked(cache / LOCK):  # several arms ask for the same tokens: one makes them
        split = tokenise_split(dataset, settings.split, pipeline.images, pipeline.reports, cache, settings.pairs)
    write_json(folder / EVALUATION, measured(pipeline, dataset, split, settings) | {"training": cost_of(folder, pipeline)})


def measured(pipeline: MeDiMPipeline, dataset: PairDataset, split: TokenSplit, settings: Evaluation) -> dict[str, Any]:
    """Bounds on -log p of all pairs of a split's tokens, in nats, (image, report) by condition."""
    model, reports = pipeline.model, pipeline.reports
    count = len(split)
    numbers: dict[str, int] = {}
    patients = [keys_of(dataset, settings.split, index).patient for index in range(count)]
    for patient in patients:
        numbers.setdefault(patient, len(numbers))
    nats = {
        condition: likelihood(model, split, condition, settings.draws, settings.seed, count, BATCH).nats.tolist()
        for condition in CONDITIONS
    }
    return {
        "settings": asdict(settings),
        "data_fingerprint": dataset.fingerprint,
        "model_fingerprint": pipeline.fingerprint,
        **pipeline.tokenizers(),
        "canvas": {"image_tokens": model.config.image_length, "report_tokens": model.config.report_length},
        "patients": [numbers[patient] for patient in patients],
        "report_tokens": reports.lengths(split.report[:count]).tolist(),
        "truncated": int(split.truncated[:count].sum()),
        "nats": nats,
    }


def cost_of(folder: Path, pipeline: MeDiMPipeline) -> dict[str, Any]:
    """Parameters, pairs and tokens that the training saw, seconds of its last sitting."""
    training = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    model = pipeline.model
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": training["recipe"]["max_steps"],
        "pairs_seen": training["pairs_seen"],
        "tokens_seen": training["pairs_seen"] * (model.config.image_length + model.config.report_length),
        "seconds_of_last_sitting": training["seconds_of_last_sitting"],
    }
