"""Macro finding F1 as a torchmetrics metric; apart from the formulas, which need neither torch nor torchmetrics."""

from collections.abc import Sequence

import torch
from torchmetrics import Metric

from tasks.metrics.clinical.findings import Counts, Findings, macro_statistic


class FindingF1(Metric):
    """Macro F1 over the labels that the references support, accumulated over batches."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    totals: torch.Tensor

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.add_state("totals", default=torch.zeros(3, len(self.labels), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Findings, references: Findings) -> None:
        """Adds one batch of predicted and reference findings, in the same order."""
        self.totals += torch.from_numpy(Counts.of(references, predictions, self.labels).totals())

    def compute(self) -> torch.Tensor:
        """Macro F1, float64 scalar; NaN where the references support no label."""
        totals = self.totals.cpu().numpy().reshape(1, -1)
        return torch.tensor(macro_statistic(len(self.labels))(totals)[0], dtype=torch.float64)
