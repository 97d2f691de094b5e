"""Reads findings from phantom images with a small convolutional classifier whose own accuracy is stated beside its weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from medim.data.phantom.names import LABELS
from medim.errors import UserError
from medim.files import hash_files

RESOLUTION = 64
BATCH = 256


def to_pixels(images: Sequence[Image.Image]) -> torch.Tensor:
    """Images of any size and mode -> uint8 (N, 3, 64, 64), RGB, resized with an anti-aliasing filter."""
    size = (RESOLUTION, RESOLUTION)
    pixels = np.empty((len(images), RESOLUTION, RESOLUTION, 3), np.uint8)
    for row, image in enumerate(images):
        rgb = image.convert("RGB")
        pixels[row] = np.asarray(rgb if rgb.size == size else rgb.resize(size, Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _stage(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class FindingNet(nn.Module):
    """uint8 images (B, 3, 64, 64) -> logits (B, labels).

    The last map (4 x 4) is read place by place, since a finding's side is its place; its mean and maximum are read too.

    Args:
        width: channels of the first stage; 32 gives 0.43 M parameters.
    """

    def __init__(self, width: int, labels: int = len(LABELS)) -> None:
        super().__init__()
        self.width = width
        self.stages = nn.Sequential(
            _stage(3, width, 5, 2),  # (B, width, 32, 32)
            _stage(width, 2 * width, 3, 2),  # (B, 2 width, 16, 16)
            _stage(2 * width, 4 * width, 3, 2),  # (B, 4 width, 8, 8)
            _stage(4 * width, 4 * width, 3, 1),
            _stage(4 * width, 4 * width, 3, 2),  # (B, 4 width, 4, 4)
        )
        self.head = nn.Linear(4 * width * 18, labels)

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
        """Logits of float images in [-1, 1]."""
        maps = self.stages(images)  # (B, 4 width, 4, 4)
        pooled = [maps.flatten(1), maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))]
        return self.head(torch.cat(pooled, dim=1))


class PhantomImageChecker:
    """Image -> findings, by thresholded probabilities of a trained `FindingNet`.

    Attributes:
        accuracy: what the network reaches on the val and test splits: F1 per label and macro.
        fingerprint: hash of weights and thresholds.
    """

    name = "phantom-image-checker"
    labels = LABELS

    def __init__(
        self, network: FindingNet, thresholds: Mapping[str, float], accuracy: Mapping[str, Any], fingerprint: str
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.thresholds = np.array([thresholds[label] for label in self.labels])
        self.accuracy = accuracy
        self.fingerprint = fingerprint

    @classmethod
    def load(cls, path: str | Path) -> "PhantomImageChecker":
        """Reads `path` (safetensors) and the JSON file of the same stem beside it.

        Raises:
            UserError: a file is missing, or is not a checker of this phantom version.
        """
        path = Path(path)
        card_path = path.with_suffix(".json")
        for file in (path, card_path):
            if not file.is_file():
                raise UserError(f"{file}: the phantom image checker is missing; train it with `make checkpoint`")
        try:
            card = json.loads(card_path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise UserError(f"{card_path}, line {error.lineno}: not JSON ({error.msg})") from error
        missing = [key for key in ("labels", "thresholds", "width", "accuracy") if key not in card]
        if missing:
            raise UserError(f"{card_path}: field '{missing[0]}' is missing; train the checker anew with `make checkpoint`")
        if tuple(card["labels"]) != LABELS or set(card["thresholds"]) != set(LABELS):
            raise UserError(f"{card_path}: its labels are not those of this phantom; train it anew with `make checkpoint`")
        network = FindingNet(card["width"])
        try:
            network.load_state_dict(load_file(path))  # fp16 on disk, copied into fp32 parameters
        except (SafetensorError, RuntimeError) as error:
            raise UserError(f"{path}: not the weights of an image checker of width {card['width']}") from error
        return cls(network, card["thresholds"], card["accuracy"], hash_files(path, card_path))

    def probabilities(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Probability of each label (N, 18)."""
        rows = [np.empty((0, len(self.labels)), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                rows.append(self.network(to_pixels(images[start : start + BATCH])).sigmoid().numpy())
        return np.concatenate(rows)

    def __call__(self, images: Sequence[Image.Image]) -> list[frozenset[str]]:
        """The labels present in each image (any size and mode)."""
        present = self.probabilities(images) >= self.thresholds
        return [frozenset(label for label, yes in zip(self.labels, row, strict=True) if yes) for row in present]
