"""Reads findings from pictures of phantom version 2, at 64 px and above, with a small network whose accuracy lies beside it."""

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

from medim.data.phantom_v2.names import LABELS
from medim.errors import UserError
from medim.files import hash_files

SIDE = 128  # every picture is brought to this side; 64 px ones are enlarged
BATCH = 128
WEIGHTS = Path(__file__).parent / "weights"
_RETRAIN = "train it anew with `python -m medim.data.phantom_v2.image_checker_training`"


def to_pixels(images: Sequence[Image.Image]) -> torch.Tensor:
    """Images of any size and mode -> uint8 (N, 3, 128, 128), RGB, resized with an anti-aliasing filter."""
    size = (SIDE, SIDE)
    pixels = np.empty((len(images), SIDE, SIDE, 3), np.uint8)
    for row, image in enumerate(images):
        rgb = image.convert("RGB")
        pixels[row] = np.asarray(rgb if rgb.size == size else rgb.resize(size, Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _stage(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class FindingNetV2(nn.Module):
    """uint8 images (B, 3, 128, 128) -> logits (B, labels).

    The last map (8 x 8) is read place by place, since a finding's side is its place; its mean and maximum are read too.

    Args:
        width: channels of the first stage; 16 gives 0.56 M parameters.
    """

    def __init__(self, width: int, labels: int = len(LABELS)) -> None:
        super().__init__()
        self.width = width
        self.stages = nn.Sequential(
            _stage(3, width, 5, 2),  # (B, width, 64, 64)
            _stage(width, 2 * width, 3, 2),  # (B, 2 width, 32, 32)
            _stage(2 * width, 4 * width, 3, 1),
            _stage(4 * width, 4 * width, 3, 2),  # (B, 4 width, 16, 16)
            _stage(4 * width, 8 * width, 3, 1),
            _stage(8 * width, 8 * width, 3, 2),  # (B, 8 width, 8, 8)
            _stage(8 * width, 8 * width, 3, 1),
        )
        self.head = nn.Linear(8 * width * (64 + 2), labels)

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
        """Logits of float images (B, 3, 128, 128) in [-1, 1]."""
        maps = self.stages(images)  # (B, 8 width, 8, 8)
        pooled = [maps.flatten(1), maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))]
        return self.head(torch.cat(pooled, dim=1))


class PhantomV2ImageChecker:
    """Image -> findings, by thresholded probabilities of a trained `FindingNetV2`.

    Attributes:
        accuracy: what the network reaches on the val and test splits at 64 and 128 px: F1 per label and macro.
        fingerprint: hash of weights and thresholds.
    """

    labels = LABELS

    def __init__(
        self, network: FindingNetV2, thresholds: Mapping[str, float], accuracy: Mapping[str, Any], name: str, fingerprint: str
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.thresholds = np.array([thresholds[label] for label in self.labels])
        self.accuracy, self.name, self.fingerprint = accuracy, name, fingerprint

    @classmethod
    def load(cls, path: str | Path) -> "PhantomV2ImageChecker":
        """Reads `path` (safetensors) and the JSON file of the same stem beside it.

        Raises:
            UserError: a file is missing, or is not a checker of this phantom version.
        """
        path = Path(path)
        card_path = path.with_suffix(".json")
        for file in (path, card_path):
            if not file.is_file():
                raise UserError(f"{file}: the phantom-v2 image checker is missing; {_RETRAIN}")
        try:
            card = json.loads(card_path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise UserError(f"{card_path}, line {error.lineno}: not JSON ({error.msg})") from error
        missing = [key for key in ("name", "labels", "thresholds", "width", "accuracy") if key not in card]
        if missing:
            raise UserError(f"{card_path}: field '{missing[0]}' is missing; {_RETRAIN}")
        if tuple(card["labels"]) != LABELS or set(card["thresholds"]) != set(LABELS):
            raise UserError(f"{card_path}: its labels are not those of this phantom; {_RETRAIN}")
        network = FindingNetV2(card["width"])
        try:
            network.load_state_dict(load_file(path))  # fp16 on disk, copied into fp32 parameters
        except (SafetensorError, RuntimeError) as error:
            raise UserError(f"{path}: not the weights of an image checker of width {card['width']}") from error
        return cls(network, card["thresholds"], card["accuracy"], card["name"], hash_files(path, card_path))

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
