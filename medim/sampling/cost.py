"""Floating-point operations of a denoiser's passes, from the shapes of its weights.
Matrix products alone, two operations a multiply-add, as `torch.utils.flop_counter` counts them (attention over all keys that a
kernel reads, masked ones included). Norms, activations, rotary angles, the draw and the image tokenizer are left out."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from medim.backbones.scratch import ScratchBackbone
from medim.denoiser import MeDiMModel
from medim.sampling.forward import Pass


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of the parts of a pass."""

    row: int  # a sequence, however long: time embedding and modulation
    position: int  # a position through all blocks, attention apart
    key: int  # one query that attends to one key, in all blocks and heads
    # image_logit, report_logit: the logits of one position
    image_logit: int
    report_logit: int

    @classmethod
    def of(cls, model: MeDiMModel) -> "Cost":
        backbone = model.backbone
        time: list[nn.Module] = [] if model.time is None else [model.time]
        if backbone.timestep == "adaln":
            time += [*backbone.adaln, *([] if backbone.final is None else [backbone.final])]
        elif backbone.timestep == "additive":
            time += [backbone.add]
        where = "out" if isinstance(backbone, ScratchBackbone) else "self_attn.o_proj"  # reads the concatenated heads
        merged = [_linear(block.get_submodule(where)) for block in backbone.blocks]
        rows = model.config.text_vocabulary if model.report_head is None else model.report_head.out_features
        return cls(
            row=_products(time),
            position=_products(backbone.blocks),
            key=4 * sum(layer.in_features for layer in merged),
            image_logit=_products([model.image_head]),
            report_logit=2 * model.image_head.in_features * rows,
        )

    def of_pass(self, one: Pass) -> int:
        trunk = one.rows * (self.row + one.queries * (self.position + one.keys * self.key))
        return trunk + one.image_logits * self.image_logit + one.report_logits * self.report_logit

    def of_passes(self, several: Iterable[Pass]) -> int:
        return sum(self.of_pass(one) for one in several)


def active_tokens(passes: Iterable[Pass]) -> int:
    """Positions that went through the blocks, over all rows of all passes, guidance included."""
    return sum(one.rows * one.queries for one in passes)


def _linear(module: nn.Module) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    return module


def _products(modules: Iterable[nn.Module]) -> int:
    """Operations of the linear layers on one vector."""
    return sum(
        2 * part.in_features * part.out_features
        for module in modules
        for part in module.modules()
        if isinstance(part, nn.Linear)
    )
