"""The likelihood of a trained model: nats of each validation pair, under noise that is the same for all arms.
`quick_check` is the paper's check without a training: what a model loses when one part is switched off at inference."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch

from benchmark.ablation.changes import ENDPOINTS, PRIMARY, change
from benchmark.ablation.plan import EVALUATION, TRAINING, Evaluation
from medim.common.errors import UserError
from medim.common.files import write_json
from medim.common.locks import LOCK, locked
from medim.data.dataset import PairDataset, keys_of
from medim.data.loading import load_dataset
from medim.data.tokens.cache import TokenSplit, tokenise_split
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.likelihood.bound import CONDITIONS, likelihood
from medim.pipeline import MeDiMPipeline

BATCH = 32
AS_TRAINED = "as trained"
HELD = 0.5


def evaluate(folder: Path, dataset: PairDataset, settings: Evaluation, cache: Path, device: str | None) -> None:
    """Writes `evaluation.json` beside a training: nats per sample and condition, and what the training cost.
    Patients are running numbers: no name of a patient or of a pair is kept.
    Raises UserError: a model that cannot be loaded, a split without pairs."""
    pipeline = MeDiMPipeline.from_pretrained(folder, device)
    with locked(cache / LOCK):  # several arms need the same tokens: one of them writes them
        split = tokenise_split(dataset, settings.split, pipeline.images, pipeline.reports, cache, settings.pairs)
    write_json(folder / EVALUATION, measured(pipeline, dataset, split, settings) | {"training": cost_of(folder, pipeline)})


def measured(pipeline: MeDiMPipeline, dataset: PairDataset, split: TokenSplit, settings: Evaluation) -> dict[str, Any]:
    """Bounds on -log p of all pairs of a split's tokens, in nats, (image, report) by condition."""
    model, reports = pipeline.model, pipeline.reports
    count = len(split)
    patients = [keys_of(dataset, settings.split, index).patient for index in range(count)]
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    nats = {
        condition: likelihood(model, split, condition, settings.draws, settings.seed, count, BATCH).tolist()
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


def quick_check(checkpoint: str, data: str, settings: Evaluation, device: str | None) -> None:
    """Prints the validation bound of a model as trained and with each part off, with the paired difference.
    Raises UserError: no such model or data, or an autoregressive model, which has neither mask to remove nor time."""
    dataset = load_dataset(data)
    pipeline = MeDiMPipeline.from_pretrained(checkpoint, device)
    if pipeline.model.config.objective == "autoregressive":
        raise UserError(f"'{checkpoint}' is autoregressive: it has no mask to remove and no timestep")
    split = tokenise_split(dataset, settings.split, pipeline.images, pipeline.reports, limit=settings.pairs)
    found: dict[str, dict[str, Any]] = {}
    for name, model in variants(pipeline.model):
        pipeline.model = model.eval()
        found[name] = measured(pipeline, dataset, split, settings)
    pairs = len(found[AS_TRAINED]["patients"])
    click.echo(f"{pairs} {settings.split} pairs of {data}, {settings.draws} draws of the same noise; lower is better\n")
    click.echo(f"{'':38} {'nats per pair':>14}  {'report nats/token':>18} {'image bits/token':>17}")
    trained = PRIMARY.additive(found[AS_TRAINED])
    for name, one in found.items():
        joint, report, image = (endpoint.additive(one).value() for endpoint in ENDPOINTS)
        line = f"{name:38} {joint:14.1f}  {report:18.3f} {image:17.3f}"
        if name != AS_TRAINED:
            moved = change((name, AS_TRAINED), PRIMARY.additive(one), trained, higher_is_better=False)
            bounds = moved.interval
            within = f"[{bounds.low:+.1f}, {bounds.high:+.1f}]" if bounds.low is not None else f"({bounds.reason})"
            line += f"   {moved.difference:+.1f} {within} {moved.verdict}"
        click.echo(line)


def variants(model: MeDiMModel) -> Iterator[tuple[str, MeDiMModel]]:
    """The model, and the same weights with one part changed."""
    yield AS_TRAINED, model
    if model.config.attention == "causal":
        yield "causal mask off", with_config(model, attention="bidirectional")
    else:
        yield "causal mask on", with_config(model, attention="causal")
    if model.config.timestep != "none":
        held = with_config(model)
        held.register_forward_pre_hook(_hold)
        yield f"timestep held at {HELD}", held
        yield "timestep off (no modulation)", with_config(model, timestep="none")


def with_config(model: MeDiMModel, **changed: str) -> MeDiMModel:
    """The same weights under another configuration; what that has no place for is left out."""
    config: MeDiMConfig = deepcopy(model.config)  # type: ignore[assignment]  # transformers knows the base class alone
    for key, value in changed.items():
        setattr(config, key, value)
    other = MeDiMModel(config)
    other.load_state_dict({name: value for name, value in model.state_dict().items() if name in other.state_dict()})
    torch.nn.Module.to(other, model.device)
    return other


def _hold(model: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    tokens, t, *rest = inputs
    return tokens, torch.full_like(t, HELD), *rest
