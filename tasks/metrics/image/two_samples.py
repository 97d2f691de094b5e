"""Features of two sets of images, gathered over batches: the state that every distribution metric shares."""

import numpy as np
import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class TwoSamples(Metric):
    """A distance between a reference and a generated set of feature vectors; subclasses say which in `compute`."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    reference: list[torch.Tensor]
    generated: list[torch.Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("reference", default=[], dist_reduce_fx="cat")
        self.add_state("generated", default=[], dist_reduce_fx="cat")

    def update(self, features: torch.Tensor, real: bool) -> None:
        """Adds features (B, D) to the reference (`real`) or to the generated set."""
        (self.reference if real else self.generated).append(features.double())

    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Reference and generated features, float64 (M, D) and (N, D); (0, 0) where nothing came."""
        return _gathered(self.reference), _gathered(self.generated)


def _gathered(features: list[torch.Tensor] | torch.Tensor) -> np.ndarray:
    return dim_zero_cat(features).cpu().numpy() if len(features) else np.zeros((0, 0))
