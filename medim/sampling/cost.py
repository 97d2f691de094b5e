"""Floating-point operations of a denoiser's passes, from the shapes of its weights alone.

Counted are matrix products, two operations a multiply-add, as `torch.utils.flop_counter` counts them (attention over all keys
that a kernel reads, masked ones included). Norms, activations, rotary angles and the draw itself are left out: they are some
per cent of a wide model. The image tokenizer is no part of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from medim.backbones.scratch import ScratchBackbone
from medim.denoiser import MeDiMModel
from medim.sampling.forward import Pass


@dataclass(frozen=True)
class Cost:
    """What parts of a pass take, in floating-point operations.

    Attributes:
        row: a sequence, however long: time embedding and modulation.
        position: a position through all blocks, attention apart.
        key: one query that attends to one key, in all blocks and heads.
        image_logit, report_logit: the logits of one position.
    """

    row: int
    position: int
    key: int
    image_logit: int
    report_logit: int

    @classmethod
    def of(cls, model: MeDiMModel) -> "Cost":
        """Of a model's own shapes."""
        backbone = model.backbone
        time: list[nn.Module] = [] if model.time is None else [model.time]
        if backbone.timestep == "adaln":
            time += [*backbone.adaln, backbone.final]
        elif backbone.timestep == "additive":
            time += [backbone.add]
        where = "out" if isinstance(backbone, ScratchBackbone) else "self_attn.o_proj"  # reads the heads, side by side
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
        """Operations of a pass, over all its rows."""
        trunk = one.rows * (self.row + one.queries * (self.position + one.keys * self.key))
        return trunk + one.image_logits * self.image_logit + one.report_logits * self.report_logit

    def of_passes(self, several: Iterable[Pass]) -> int:
        """Operations of a trajectory."""
        return sum(self.of_pass(one) for one in several)


def active_tokens(passes: Iterable[Pass]) -> int:
    """Positions that went through the blocks, over all rows of all passes, those of guidance included."""
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
