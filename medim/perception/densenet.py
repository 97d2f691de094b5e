"""DenseNet-121 for chest X-rays (Huang et al. 2017, arXiv:1608.06993), as TorchXRayVision releases it.

One grey channel of 224 x 224 pixels in [-1024, 1024]; 18 pathologies, each with a sigmoid (Cohen et al. 2022,
arXiv:2111.00595). What is released is a pickled module, which could run code; its `state_dict` in a torch or safetensors file
is read, with the operating points `op_threshs` that the package adds to it.
"""

import math
from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from medim.common.errors import UserError, named
from medim.common.files import hash_of
from medim.perception.preprocess import Frozen, resize_name, resized, weights_hash
from medim.weights.files import read_tensors
from medim.weights.loading import fill

PATHOLOGIES = (
    *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion"),
    *("Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture"),
    *("Lung Opacity", "Enlarged Cardiomediastinum"),
)
LAYERS, GROWTH, WIDTH, BOTTLENECK = (6, 12, 24, 16), 32, 64, 4
THRESHOLDS = "op_threshs"
SAVE = "torch.save(torchxrayvision.models.DenseNet(weights='densenet121-res224-all').state_dict(), FILE)"
"""Writes a file where the package is installed."""
_SIDE, _RANGE = 224, 1024


class Layer(nn.Sequential):
    """x -> [x, H(x)] with H = BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3) of `GROWTH` channels."""

    def __init__(self, inputs: int) -> None:
        inner = BOTTLENECK * GROWTH
        super().__init__(
            OrderedDict(
                norm1=nn.BatchNorm2d(inputs),
                relu1=nn.ReLU(),
                conv1=nn.Conv2d(inputs, inner, 1, bias=False),
                norm2=nn.BatchNorm2d(inner),
                relu2=nn.ReLU(),
                conv2=nn.Conv2d(inner, GROWTH, 3, padding=1, bias=False),
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, super().forward(x)], dim=1)


class DenseNet121(nn.Module):
    """(B, 1, 224, 224) in [-1024, 1024] -> pooled features (B, 1024); `classifier` makes logits (B, 18) of them."""

    def __init__(self) -> None:
        super().__init__()
        features = OrderedDict[str, nn.Module](
            conv0=nn.Conv2d(1, WIDTH, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(WIDTH),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        width = WIDTH
        for number, layers in enumerate(LAYERS, start=1):
            block = features[f"denseblock{number}"] = nn.Sequential()
            for index in range(layers):
                block.add_module(f"denselayer{index + 1}", Layer(width + index * GROWTH))
            width += layers * GROWTH
            if number < len(LAYERS):  # halves channels and side
                convolution = nn.Conv2d(width, width // 2, 1, bias=False)
                parts = OrderedDict(norm=nn.BatchNorm2d(width), relu=nn.ReLU(), conv=convolution, pool=nn.AvgPool2d(2))
                features[f"transition{number}"] = nn.Sequential(parts)
                width //= 2
        features["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(features)
        self.classifier = nn.Linear(width, len(PATHOLOGIES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.features(x)).mean((2, 3))


class ChestNet(Frozen):
    """The network of one file, frozen; a feature space (`medim.perception.space`) and a classifier.
    `labels`: the pathologies that it was trained on.
    `thresholds`: the operating point of each label in (0, 1), on its sigmoid; 1/2 where the file has none.
    `weights`: hash of all tensors of the network.
    `fingerprint`: hash of weights, resize and range.
    Raises UserError: the file is missing, damaged, or not of this network."""

    trained_against = False
    resize = resize_name(_SIDE)

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        path = Path(path)
        with torch.device("meta"):  # no initialisation: it would draw from the global generator
            self.network = DenseNet121()
        with named(f"torchxrayvision weights, a file as by {SAVE}"):
            tensors = read_tensors(path, "state_dict")
            points = tensors.pop(THRESHOLDS, torch.full((len(PATHOLOGIES),), 0.5))
            if points.shape != (len(PATHOLOGIES),):
                raise UserError(f"'{path}': '{THRESHOLDS}' has shape {tuple(points.shape)}, not ({len(PATHOLOGIES)},)")
            fill(self.network, tensors, f"'{path}'", assign=True)
        self.network.float().requires_grad_(False).eval()
        self._rows = [row for row, point in enumerate(points.tolist()) if not math.isnan(point)]
        self.labels = tuple(PATHOLOGIES[row] for row in self._rows)
        self.thresholds = tuple(points[self._rows].tolist())
        self.name, self.title = f"torchxrayvision:{path.name}", path.stem
        described = {"resize": self.resize, "range": [-_RANGE, _RANGE], "layer": "last features, ReLU, mean"}
        self.weights = weights_hash(self.network)
        self.fingerprint = hash_of({"weights": self.weights, **described})

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] as pooled features (B, 1024), float32: the mean of the channels, resized to 224."""
        return self.network(resized(images.float(), _SIDE).mean(1, keepdim=True) * _RANGE)

    @torch.no_grad()
    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (B, L) of `labels` of pooled features (B, 1024)."""
        return self.network.classifier(features)[:, self._rows]
