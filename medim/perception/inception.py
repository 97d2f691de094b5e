"""The Inception network of FID: features for "FID" and "KID", class scores for the Inception Score.
It is Inception-v3 (Szegedy et al. 2015, arXiv:1512.00567) as in the TensorFlow graph of 5 December 2015, which differs from
later releases: 1,008 classes, average pooling that leaves the padding out of its mean, and max pooling in the last block."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from medim.common.declared import read_table
from medim.common.errors import UserError, named
from medim.common.files import hash_of
from medim.perception.preprocess import Frozen, resize_name, resized, tf1_bilinear
from medim.weights.files import read_tensors
from medim.weights.loading import fill

WEIGHTS_FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
"""Names under which the file is released, by torch-fidelity and by pytorch-fid; the content is one."""

WEIGHTS_SHA256 = "6726825d"  # first digits of the SHA-256 of that content, as its name states them

WEIGHTS_FOLDER = "MEDIM_BENCH_WEIGHTS"
FEATURES, CLASSES = 2048, 1008
_SIDE = 299

Kernel = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """A block, as `inception.yaml` explains it."""

    inputs: int
    chains: dict[str, tuple[tuple[int, Kernel], ...]]
    pool: Literal["average", "max"]
    pooled: int | None = None
    forks: tuple[str, ...] = ()


BLOCKS = read_table(Path(__file__).with_name("inception.yaml"), dict[str, Plan])


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU. At stride 1 the size is kept; at stride 2 there is no padding."""

    def __init__(self, given: int, out: int, kernel: Kernel, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded and stride == 1 else 0
        self.conv = nn.Conv2d(given, out, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Chains side by side and a 3 x 3 pooling, joined along the channels."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan, self.stride = plan, 2 if plan.pooled is None else 1
        for chain, layers in plan.chains.items():
            width = plan.inputs
            for index, (out, kernel) in enumerate(layers):
                names = self._names(chain, index)
                for name, shape in zip(names, (kernel,) if len(names) == 1 else ((1, 3), (3, 1)), strict=True):
                    self.add_module(name, Convolution(width, out, shape, self.stride if index == len(layers) - 1 else 1))
                width = out
        if plan.pooled is not None:
            self.branch_pool = Convolution(plan.inputs, plan.pooled, (1, 1))

    def _names(self, chain: str, index: int) -> list[str]:
        """Of a layer's convolutions in the weights file: one, or two side by side."""
        layers = self.plan.chains[chain]
        name = chain if len(layers) == 1 else f"{chain}_{index + 1}"
        return [f"{name}a", f"{name}b"] if chain in self.plan.forks and index == len(layers) - 1 else [name]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = []
        for chain, layers in self.plan.chains.items():
            hidden = x
            for index in range(len(layers)):
                hidden = torch.cat([self.get_submodule(name)(hidden) for name in self._names(chain, index)], dim=1)
            outputs.append(hidden)
        if self.stride == 2:
            return torch.cat([*outputs, F.max_pool2d(x, 3, stride=2)], dim=1)
        if self.plan.pool == "max":
            pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        else:
            pooled = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return torch.cat([*outputs, self.branch_pool(pooled)], dim=1)


class InceptionV3(nn.Module):
    """The network alone: (B, 3, 299, 299), values (v - 128) / 128 of grey levels v, to pooled features (B, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, (3, 3), padded=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, (3, 3))
        self.Conv2d_3b_1x1 = Convolution(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = Convolution(80, 192, (3, 3), padded=False)
        for name, plan in BLOCKS.items():
            self.add_module(name, Block(plan))
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (B, 192, 71, 71)
        x = F.max_pool2d(x, 3, stride=2)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)  # (B, 288, 35, 35), (B, 768, 17, 17), (B, 2048, 8, 8)
        return x.mean((2, 3))


class InceptionFeatures(Frozen):
    """The space of FID, frozen and always in evaluation mode.
    `weights`: the file; None looks for it in the folder that MEDIM_BENCH_WEIGHTS names, then in torch hub's cache.
    `antialias`: False: TensorFlow 1's bilinear resize, as the original FID and torch-fidelity; True: antialiased bicubic, as
    clean-fid.
    `official`: whether the weights are those released; only then may a column be called FID.
    `antialias`: as given.
    Raises UserError: no such file, or not weights of this network."""

    name = "inception-v3"
    trained_against = False
    classes = CLASSES

    def __init__(self, weights: str | Path | None = None, *, antialias: bool = False) -> None:
        super().__init__()
        path = find_weights(weights)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.official = digest.startswith(WEIGHTS_SHA256)
        self.antialias = antialias
        self.resize = resize_name(_SIDE) if antialias else f"bilinear,tf1,no antialias,float,{_SIDE}"
        self.title = "Inception-v3" + ("" if self.official else f", weights {digest[:8]}") + (", clean" if antialias else "")
        self.network = _loaded(path)
        self.fingerprint = hash_of({"weights": digest, "resize": self.resize, "range": "(v-128)/128", "layer": "pool"})

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] as pooled features (B, 2048), float32; any H and W, resized to 299. Values are brought
        back to the grey levels 0..255 that they came from before the resize, as the original starts there."""
        levels = images.float().add(1).mul(127.5).round()
        levels = resized(levels, _SIDE) if self.antialias else tf1_bilinear(levels, _SIDE)
        return self.network(((levels - 128) / 128).contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Class scores (B, 1008) without the classifier's bias, as every reference implementation of the score has them."""
        weight = self.network.fc.weight
        return features.to(weight.device, weight.dtype) @ weight.T


class CleanInceptionFeatures(InceptionFeatures):
    """The same behind clean-fid's resize."""

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__(weights, antialias=True)


def find_weights(given: str | Path | None = None) -> Path:
    """The weights file: as given, else in the folder of MEDIM_BENCH_WEIGHTS, else in torch hub's cache.
    Raises UserError: it is in none of them; the message says which file to put where."""
    if given is not None:
        path = Path(given)
        if path.is_dir():
            found = next((path / name for name in WEIGHTS_FILES if (path / name).is_file()), None)
            if found is not None:
                return found
            raise UserError(f"Inception weights: folder '{path}' holds no '{WEIGHTS_FILES[0]}'")
        if not path.is_file():
            raise UserError(f"Inception weights: no file '{path}'")
        return path
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for folder in [Path(os.environ[WEIGHTS_FOLDER]), cache] if os.environ.get(WEIGHTS_FOLDER) else [cache]:
        for name in WEIGHTS_FILES:
            if (folder / name).is_file():
                return folder / name
    shown = Path("~") / cache.relative_to(Path.home()) if cache.is_relative_to(Path.home()) else cache
    raise UserError(
        f"Inception weights are missing: put '{WEIGHTS_FILES[0]}' (from a release of torch-fidelity) into {shown} "
        f"or into the folder that {WEIGHTS_FOLDER} names, or give inception:PATH"
    )


def _loaded(path: Path) -> InceptionV3:
    with torch.device("meta"):  # no initialisation: it would draw from the global generator
        network = InceptionV3()
    with named(f"Inception weights '{path}' are not those of this network"):
        fill(network, read_tensors(path), path.name, assign=True)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):  # with images in the same layout, convolutions on a CPU take half the time
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return network.float().requires_grad_(False).eval()
