"""How weights move: Muon with AdamW, the paper's learning rate, low-rank adapters."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from medim.common.errors import UserError
from medim.denoiser import MeDiMModel

if TYPE_CHECKING:
    from peft import LoraModel


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimizers that share one list of parameter groups, so that a scheduler or a Trainer sees a single one.
    Muon (Jordan et al. 2024; `torch.optim.Muon`) takes the two-dimensional weights inside the blocks; embeddings, heads,
    modulation, norms and biases go to AdamW."""

    def __init__(self, model: MeDiMModel, learning_rate: float, muon_learning_rate: float, **adamw: Any) -> None:
        inside = [p for p in model.backbone.blocks.parameters() if p.requires_grad and p.ndim == 2]
        matrices = {id(p) for p in inside}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in matrices]
        self.muon = torch.optim.Muon(
            inside, lr=muon_learning_rate, weight_decay=adamw.get("weight_decay", 0.0), adjust_lr_fn="match_rms_adamw"
        )
        self.adamw = torch.optim.AdamW(others, lr=learning_rate, fused=True, **adamw)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]


def cosine_with_doubling_restarts(step: int, warmup: int, first: int) -> float:
    """Factor of the peak learning rate at an optimiser step, as in the paper.

    Linear from 0 over `warmup` steps; then (1 + cos(pi r)) / 2 with r the share of the current cycle that has passed. Cycles
    last `first`, 2 `first`, 4 `first`, ... steps (SGDR with T_mult = 2, Loshchilov and Hutter 2017).

    >>> [round(cosine_with_doubling_restarts(step, 10, 100), 3) for step in (0, 5, 10, 60, 109, 110, 210, 309, 310)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 1.0, 0.5, 0.0, 1.0]
    """
    if step < warmup:
        return step / warmup
    step -= warmup
    cycle = int(math.log2(step // first + 1))
    start, length = first * (2**cycle - 1), first * 2**cycle
    return (1 + math.cos(math.pi * (step - start) / length)) / 2


def add_lora(model: MeDiMModel, rank: int, alpha: float) -> "LoraModel":
    """Freezes the blocks and the backbone's embedding, and adds a trainable low-rank update to every matrix of the blocks.
    Hu et al. 2021, arXiv 2106.09685, by peft. Modulation, time, image rows and heads stay trainable.
    `alpha`: the update is scaled by alpha / rank.
    Returns the handle whose `merge_and_unload()` turns them into plain matrices again.
    Raises UserError: peft is not installed."""
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise UserError("lora_rank needs the package peft: pip install 'medim-bench[lora]'") from error
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    matrices = [name for name, module in model.backbone.blocks.named_modules() if isinstance(module, nn.Linear)]
    prefix = next(name for name, module in model.named_modules() if module is model.backbone.blocks)
    lora = LoraModel(
        model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=[f"{prefix}.{name}" for name in matrices]), "default"
    )
    frozen = {f"{prefix}.{name}" for name, _ in model.backbone.blocks.named_parameters() if "lora_" not in name}
    embedding = next(name for name, p in model.named_parameters() if p is model.backbone.embedding.weight)
    for name, parameter in model.named_parameters():
        plain = name.replace(".base_layer", "")
        parameter.requires_grad_("lora_" in name or (plain in trainable and name not in frozen and name != embedding))
    return lora
