"""Downstream models: what pairs are good for is measured by training these on them.

`DOWNSTREAM` maps a name to a factory `(argument or None, device) -> Downstream`; others register theirs in the entry-point
group `medim.downstream`.
"""

from collections.abc import Callable
from importlib.metadata import entry_points

from medim.common.errors import UserError, unknown
from tasks.downstream.contract import Downstream, Example, FindsLabels, Fitted, WritesReports

__all__ = ["DOWNSTREAM", "Downstream", "Example", "Factory", "FindsLabels", "Fitted", "WritesReports", "open_downstream"]

ENTRY_POINTS = "medim.downstream"
Factory = Callable[[str | None, str], Downstream]


def _r2gen(preset: str) -> Factory:
    def make(argument: str | None, device: str) -> Downstream:
        from tasks.downstream.r2gen import R2Gen

        return R2Gen.of(preset, argument, device)

    return make


def _ved(preset: str) -> Factory:
    def make(argument: str | None, device: str) -> Downstream:
        from tasks.downstream.vision_encoder_decoder import VisionEncoderDecoder

        return VisionEncoderDecoder.of(preset, argument, device)

    return make


def _llava(preset: str) -> Factory:
    def make(argument: str | None, device: str) -> Downstream:
        from tasks.downstream.llava import Llava

        return Llava.of(preset, argument, device)

    return make


def _classifier(argument: str | None, device: str) -> Downstream:
    from tasks.downstream.classifier import Classifier

    return Classifier.of("classifier", argument, device)


DOWNSTREAM: dict[str, Factory] = {
    "r2gen": _r2gen("r2gen"),
    "r2gen-tiny": _r2gen("r2gen-tiny"),
    "ved": _ved("ved"),
    "ved-tiny": _ved("ved-tiny"),
    "llava": _llava("llava"),
    "llava-tiny": _llava("llava-tiny"),
    "classifier": _classifier,
}


def open_downstream(spec: str, device: str = "cpu") -> Downstream:
    """Opens a downstream model from `NAME` or `NAME:ARGUMENT`.

    `r2gen[:FOLDER of a transformers ResNet]` · `r2gen-tiny` · `ved` · `ved-tiny` · `llava:FOLDER of a causal language model` ·
    `llava-tiny` · `classifier`, and whatever packages register: an entry point of the group `medim.downstream` names a
    callable `(argument or None, device) -> Downstream`.

    Raises:
        UserError: an unknown name, or what it needs is missing or not as it should be.
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
