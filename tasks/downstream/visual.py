"""Visual extractors: an image as a set of patch features, from scratch, EfficientNet-Lite0, or a ResNet in a folder."""

from pathlib import Path

import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel

from medim.common.errors import UserError, foreign
from medim.common.files import read_mapping
from medim.perception.preprocess import normalised
from medim.weights.loading import load

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as transformers' ResNets expect


class Convolutions(nn.Module):
    """A small residual network from scratch: images (B, 3, S, S) -> (B, (S / 8)^2, 4 `width`).
    Three halvings with residual blocks between; group normalisation, so that no statistics of batches enter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = 4 * width
        self.stages = nn.Sequential(
            _halving(3, width, 5),
            _halving(width, 2 * width, 3),
            _Residual(2 * width),
            _halving(2 * width, 4 * width, 3),
            _Residual(4 * width),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.stages(images.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(width // 8, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(width // 8, width),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(maps + self.branch(maps))


def _halving(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, 2, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(outputs // 8, outputs), nn.ReLU(inplace=True))


class EfficientNetPatches(nn.Module):
    """EfficientNet-Lite0 with ImageNet weights: images (B, 3, S, S) -> (B, (S / 32)^2, 1280); 224 px give 49 patches.
    Its batch normalisation keeps the statistics of ImageNet, in training too: batches of reports are small."""

    features = 1280

    def __init__(self) -> None:
        super().__init__()
        from medim.perception.efficientnet import EfficientNetLite0Features  # lazy: scoring

        self.network = EfficientNetLite0Features().network.requires_grad_(True)

    def train(self, mode: bool = True) -> "EfficientNetPatches":
        return super().train(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features(images).flatten(2).transpose(1, 2)


class ResNetPatches(nn.Module):
    """A transformers ResNet: images (B, 3, S, S) -> (B, (S / 32)^2, C); ResNet-101 of 224 px gives (B, 49, 2048).
    Raises UserError: the folder holds no ResNet in transformers' form."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        if not Path(folder).is_dir():
            raise UserError(f"visual extractor: '{folder}' is no folder of a transformers ResNet")
        what = f"visual extractor '{folder}'"
        values = read_mapping(Path(folder) / "config.json")
        if values.get("model_type") != "resnet":
            raise UserError(f"{what} holds no ResNet")
        with foreign(what):
            config = ResNetConfig.from_dict(values)
        self.network, _ = load(ResNetModel, folder, what, without_heads=True, config=config, use_safetensors=True)
        self.features = int(self.network.config.hidden_sizes[-1])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.network(normalised(images, _MEAN, _DEVIATION)).last_hidden_state
        return maps.flatten(2).transpose(1, 2)


def open_visual(kind: str, width: int, argument: str | None) -> nn.Module:
    """`convolutions` of a width, `efficientnet-lite0`, or the ResNet in the folder `argument`, whatever the kind.
    Raises UserError: weights are missing or not as they should be."""
    if argument is not None:
        return ResNetPatches(argument)
    return Convolutions(width) if kind == "convolutions" else EfficientNetPatches()
