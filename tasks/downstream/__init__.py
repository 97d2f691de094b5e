"""Downstream models: what pairs are good for is measured by training these on them."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

from medim.common.errors import UserError, unknown
from tasks.downstream.contract import Downstream, Example, FindsLabels, Fitted, WritesReports

__all__ = ["DOWNSTREAM", "Downstream", "Example", "Factory", "FindsLabels", "Fitted", "WritesReports", "open_downstream"]

ENTRY_POINTS = "medim.downstream"
Factory = Callable[[str | None, str], Downstream]  # `(argument or None, device) -> Downstream`


def _shipped(name: str, module: str, model: str, takes_argument: bool = False) -> Factory:
    def factory(argument: str | None, device: str) -> Downstream:
        if argument is not None and not takes_argument:
            raise UserError(f"downstream model '{name}' takes no argument, not '{argument}'")
        home = import_module(f"tasks.downstream.{module}")
        opened: Downstream = getattr(home, model)(name, home.PRESETS[name], argument, device)
        return opened

    return factory


DOWNSTREAM: dict[str, Factory] = {
    "r2gen": _shipped("r2gen", "r2gen", "R2Gen", takes_argument=True),
    "r2gen-tiny": _shipped("r2gen-tiny", "r2gen", "R2Gen"),
    "ved": _shipped("ved", "vision_encoder_decoder", "VisionEncoderDecoder"),
    "ved-tiny": _shipped("ved-tiny", "vision_encoder_decoder", "VisionEncoderDecoder"),
    "llava": _shipped("llava", "llava", "Llava", takes_argument=True),
    "llava-tiny": _shipped("llava-tiny", "llava", "Llava", takes_argument=True),
    "classifier": _shipped("classifier", "classifier", "Classifier"),
}


def open_downstream(spec: str, device: str = "cpu") -> Downstream:
    """Opens a downstream model from `NAME` or `NAME:ARGUMENT`.

    `r2gen[:FOLDER of a transformers ResNet]` · `r2gen-tiny` · `ved` · `ved-tiny` · `llava:FOLDER of a causal language model` ·
    `llava-tiny` · `classifier`, and what packages register: an entry point of the group `medim.downstream` names a `Factory`.

    Raises UserError: an unknown name, or what it needs is missing or not as it should be.
    """
    name, _, argument = spec.partition(":")
    if name in DOWNSTREAM:
        return DOWNSTREAM[name](argument or None, device)
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in registered:
        raise unknown("downstream model", name, [*DOWNSTREAM, *registered])
    factory: Factory = registered[name].load()
    model = factory(argument or None, device)
    if not hasattr(model, "fit") or not hasattr(model, "name"):
        raise UserError(f"downstream model '{name}' of {registered[name].value} is none: it needs name and fit()")
    return model
