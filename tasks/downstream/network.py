"""What every report generator's network offers to training and writing."""

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional as F

from tasks.downstream.words import END


class Learner(nn.Module, ABC):
    """A network that learns from images and targets.

    Attributes:
        visual: the part that reads images; it may have a learning rate of its own.
    """

    visual: nn.Module

    @abstractmethod
    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss and the number of terms, of images (B, 3, S, S) in [-1, 1] and their targets (B, ...)."""


class ReportNetwork(Learner):
    """A network that writes reports. Its targets are ids (B, T): a text, then `END` to the row's end."""

    @abstractmethod
    def write(self, images: torch.Tensor) -> list[list[int]]:
        """Ids of a report for each of the images (B, 3, S, S), without the end."""


def cut(targets: torch.Tensor) -> torch.Tensor:
    """Ids (B, T) without the columns that only pad."""
    return targets[:, : 1 + int((targets != END).sum(1).max())]


def token_loss(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed -log p in nats of the targets (B, T) up to and with the first `END`, and their number.

    Args:
        logits: (B, T, ids).
    """
    wanted = torch.ones_like(targets, dtype=torch.bool)
    wanted[:, 1:] = targets[:, :-1] != END
    return F.cross_entropy(logits[wanted].float(), targets[wanted], reduction="sum"), wanted.sum()


def after_begin(targets: torch.Tensor) -> torch.Tensor:
    """What a decoder has read before each of the targets (B, T): the begin, then the targets before it."""
    return F.pad(targets[:, :-1], (1, 0), value=END)
