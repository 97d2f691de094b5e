"""A small classifier of images into findings as a downstream model."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from medim.common.errors import UserError
from medim.imaging.images import square, to_tensor
from tasks.downstream.contract import Example
from tasks.downstream.trainable import Trainable
from tasks.downstream.training_loop import Learner, Recipe
from tasks.downstream.visual import Convolutions

SIDE, WIDTH, BATCH = 64, 16, 256
PLACES = (SIDE // 8) ** 2
THRESHOLD = 0.5
PRESETS = {"classifier": Recipe(learning_rate=3e-3, visual_learning_rate=3e-3, weight_decay=0.02)}


class ClassifierNetwork(Learner):
    """Patch features, read place by place since a finding's side is its place: images (B, 3, 64, 64) -> logits (B, labels)."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.visual = Convolutions(WIDTH)
        self.narrow = nn.Linear(self.visual.features, 16)
        self.head = nn.Linear(16 * PLACES + 2 * self.visual.features, labels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.visual(images)  # (B, places, features)
        read = [self.narrow(patches).relu().flatten(1), patches.mean(1), patches.amax(1)]
        return self.head(torch.cat(read, 1))

    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Binary cross-entropy over all labels of all images."""
        total = F.binary_cross_entropy_with_logits(self(images).float(), targets, reduction="sum")
        return total, torch.tensor(targets.numel())


class FindingClassifier:
    """A trained classifier (`contract.FindsLabels`): those of its `labels` with a probability of at least one half."""

    def __init__(
        self, network: ClassifierNetwork, labels: Sequence[str], name: str, fingerprint: str, settings: Mapping[str, Any]
    ) -> None:
        self.network, self.labels, self.name, self.fingerprint = network, tuple(labels), name, fingerprint
        self._settings = dict(settings)

    def settings(self) -> dict[str, Any]:
        """What it is and how it was trained."""
        return dict(self._settings)

    @torch.inference_mode()
    def findings(self, images: Sequence[Image.Image]) -> list[frozenset[str]]:
        """The labels present in each image (any size and mode)."""
        found: list[frozenset[str]] = []
        device = next(self.network.parameters()).device
        for start in range(0, len(images), BATCH):
            pixels = to_tensor([square(image, SIDE) for image in images[start : start + BATCH]])
            present = (self.network(pixels.to(device)).sigmoid() >= THRESHOLD).tolist()
            found += [frozenset(label for label, yes in zip(self.labels, row, strict=True) if yes) for row in present]
        return found


class Classifier(Trainable[ClassifierNetwork]):
    """A convolutional classifier trained on the examples' findings; their reports are not read."""

    def __init__(self, name: str, recipe: Recipe, argument: None, device: str) -> None:
        super().__init__(name, SIDE, recipe, device)

    def describe(self) -> dict[str, Any]:
        return {"architecture": "Convolutions", "width": WIDTH, "threshold": THRESHOLD}

    def read(self, train: Sequence[Example], validation: Sequence[Example]) -> dict[str, Any]:
        labels: set[str] = set()
        for example in (*train, *validation):
            if example.findings is None:
                raise UserError(
                    f"{self.name}: the findings of example '{example.id}' are not known (--checker report=KIND reads them)"
                )
            labels |= example.findings
        if not labels:
            raise UserError(f"{self.name}: no example has a finding")
        return {"labels": sorted(labels)}

    def targets(self, examples: Sequence[Example], known: Mapping[str, Any]) -> torch.Tensor:
        rows = [[label in (example.findings or ()) for label in known["labels"]] for example in examples]
        return torch.tensor(rows, dtype=torch.float32)

    def network(self, known: Mapping[str, Any]) -> ClassifierNetwork:
        return ClassifierNetwork(len(known["labels"]))

    def fitted(
        self, network: ClassifierNetwork, known: Mapping[str, Any], fingerprint: str, settings: Mapping[str, Any]
    ) -> FindingClassifier:
        return FindingClassifier(network, known["labels"], self.name, fingerprint, settings)
