"""Reads findings from pictures with a small convolutional classifier whose own accuracy is stated beside its weights."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from medim.common.declared import checked
from medim.common.errors import UserError, named
from medim.common.files import hash_files, read_mapping
from medim.data.phantom.checkers import CheckerDesign
from medim.data.phantom.labels import LABELS
from medim.weights.files import read_tensors
from medim.weights.loading import fill

BATCH = 32  # on a CPU 1.5 times as fast as 128
ANEW = "train it anew with `python -m medim.data.phantom.image_checker_training`"


class Card(BaseModel):
    """What the JSON file beside a checker's weights says of it; one whose design has no name needs a `name` too."""

    model_config = ConfigDict(extra="allow", strict=True)

    labels: tuple[str, ...]
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    width: Annotated[int, Field(gt=0, le=1024)]
    accuracy: dict[str, Any]
    name: str = ""


def to_pixels(images: Sequence[Image.Image], side: int) -> torch.Tensor:
    """Images of any size and mode -> uint8 (N, 3, side, side), RGB, resized with an anti-aliasing filter."""
    pixels = np.empty((len(images), side, side, 3), np.uint8)
    for row, image in enumerate(images):
        rgb = image.convert("RGB")
        pixels[row] = np.asarray(rgb if rgb.size == (side, side) else rgb.resize((side, side), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _stage(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class FindingNet(nn.Module):
    """uint8 images (B, 3, side, side) -> logits (B, labels). The last map is read place by place, since a finding's side is its
    place; its mean and maximum are read too. `width`: channels of the first stage."""

    def __init__(self, design: CheckerDesign, width: int) -> None:
        super().__init__()
        self.width = width
        channels = [3, *(width * widths for widths, _, _ in design.layers)]
        self.stages = nn.Sequential(
            *(_stage(channels[i], channels[i + 1], kernel, stride) for i, (_, kernel, stride) in enumerate(design.layers))
        )
        grid = design.side // math.prod(stride for _, _, stride in design.layers)  # the last map is grid x grid
        self.head = nn.Linear(channels[-1] * (grid * grid + 2), len(LABELS))

    def initialise(self, generator: torch.Generator) -> None:
        """He initialisation of the convolutions, Xavier of the head, from `generator` alone."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        nn.init.xavier_uniform_(self.head.weight, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits of uint8 pixels."""
        return self.classify(pixels.float() / 127.5 - 1.0)

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of float images (B, 3, side, side) in [-1, 1]."""
        maps = self.stages(images)  # (B, channels, grid, grid)
        pooled = [maps.flatten(1), maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))]
        return self.head(torch.cat(pooled, dim=1))


class ImageChecker:
    """Image -> findings, by thresholded probabilities of a trained `FindingNet`. `name`: as signatures call it. `accuracy`:
    what the network reaches on the val and test splits: F1 per label and macro. `fingerprint`: hash of weights and card."""

    labels = LABELS

    def __init__(self, network: FindingNet, design: CheckerDesign, card: Card, fingerprint: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.side = design.side
        self.thresholds = np.array([card.thresholds[label] for label in LABELS])
        self.accuracy = card.accuracy
        self.fingerprint = fingerprint
        self.name = card.name or str(design.name)

    @classmethod
    def load(cls, path: str | Path, design: CheckerDesign) -> Self:
        """Reads `path` (safetensors) and its card, the JSON file of the same stem beside it.
        Raises UserError: a file is missing, or is not of a checker of this design."""
        path = Path(path)
        card_path = path.with_suffix(".json")
        for file in (path, card_path):
            if not file.is_file():
                raise UserError(f"{file}: the image checker is missing; {ANEW}")
        card = checked(Card, read_mapping(card_path), str(card_path))
        if not (card.name or design.name):
            raise UserError(f"{card_path}: field 'name' is missing; {ANEW}")
        if card.labels != LABELS or set(card.thresholds) != set(LABELS):
            raise UserError(f"{card_path}: its labels are not those of this phantom; {ANEW}")
        network = FindingNet(design, card.width)
        with named(f"{path}: not the weights of an image checker of width {card.width}"):
            fill(network, read_tensors(path), path.name)  # fp16 on disk, copied into fp32 parameters
        return cls(network, design, card, hash_files(path, card_path))

    def probabilities(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Probability of each label (N, labels), in float32 whatever type a model around it runs in."""
        rows = [np.empty((0, len(self.labels)), np.float32)]
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            for start in range(0, len(images), BATCH):
                pixels = to_pixels(images[start : start + BATCH], self.side)
                rows.append(self.network(pixels).sigmoid().numpy())
        return np.concatenate(rows)

    def __call__(self, images: Sequence[Image.Image]) -> list[frozenset[str]]:
        """The labels present in each image (any size and mode)."""
        present = self.probabilities(images) >= self.thresholds
        return [frozenset(label for label, yes in zip(self.labels, row, strict=True) if yes) for row in present]
