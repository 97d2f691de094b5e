"""Muon for the blocks' matrices, AdamW for everything else, behind one optimizer."""

from typing import Any

import torch

from medim.denoiser import MeDiMModel


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimizers that share one list of parameter groups, so that a scheduler or a Trainer sees a single one.

    Muon (Jordan et al. 2024; `torch.optim.Muon`) takes the two-dimensional weights inside the blocks; embeddings, heads,
    modulation, norms and biases go to AdamW.
    """

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
