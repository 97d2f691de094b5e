"""What a trained model loses when one part is switched off at inference: the paper's quick checks, without a training."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import click
import torch

from benchmark.ablation.likelihood import measured
from benchmark.ablation.plan import Evaluation
from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.data.tokens.cache import tokenise_split
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.pipeline import MeDiMPipeline
from tasks.ablation import ENDPOINTS, PRIMARY, change

AS_TRAINED = "as trained"
HELD = 0.5


def quick_check(checkpoint: str, data: str, settings: Evaluation, device: str | None) -> None:
    """Prints the validation bound of a model as trained and with each part off, with the paired difference.

    Raises:
        UserError: no such model or data, or an autoregressive model, which has neither mask to remove nor time.
    """
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
