"""What a feature space is, and how one is opened from a line such as `inception:PATH`."""

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from medim.common.errors import UserError, unknown

ENTRY_POINTS = "medim.features"
DEFAULT = "efficientnet-lite0"


@runtime_checkable
class FeatureSpace(Protocol):
    """Images to feature vectors, with what a signature needs to say about it.
    `name`: short, as in a signature: `efficientnet-lite0`.
    `title`: as in a column's heading: `EfficientNet-Lite0`.
    `fingerprint`: hash of the weights and of all that is done before and after them; equal fingerprints mean equal features of
    equal images.
    `resize`: what is done to an image before the network: filter, antialiasing, side in pixels.
    `trained_against`: True where image tokenizers use this network as a loss: such a space flatters them and never ranks."""

    name: str
    title: str
    fingerprint: str
    resize: str
    trained_against: bool

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] as features (B, D), float32."""


@runtime_checkable
class Classifies(Protocol):
    """A feature space whose network has a linear classifier behind the features. `classes`: number of classes C."""

    classes: int

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Class scores (B, C), before the softmax, of this space's features (B, D)."""


@runtime_checkable
class Precomputed(Protocol):
    """A feature space that holds features of known images instead of computing them."""

    name: str
    title: str
    fingerprint: str
    resize: str
    trained_against: bool

    def rows(self, keys: list[str]) -> torch.Tensor:
        """Features (N, D) of the images with these keys (`medim.perception.array.image_key`).
        Raises UserError: some image is not there."""


Space = FeatureSpace | Precomputed
Factory = Callable[[str | None, str], Space]


# NAME: module of this package, class, and what the argument is: none, optional or needed.
SPACES: dict[str, tuple[str, str, str | None]] = {
    "efficientnet-lite0": ("efficientnet", "EfficientNetLite0Features", None),
    "inception": ("inception", "InceptionFeatures", "[PATH]"),
    "inception-clean": ("inception", "CleanInceptionFeatures", "[PATH]"),
    "transformers": ("hub", "TransformersFeatures", "PATH or hub id"),
    "timm": ("hub", "TimmFeatures", "NAME or folder"),
    "open-clip": ("hub", "OpenClipFeatures", "NAME or folder"),
    "torchxrayvision": ("hub", "TorchXRayVisionFeatures", "WEIGHTS or FILE"),
    "array": ("array", "ArrayFeatures", "FILE.npz"),
}
"""Those of this package; others register a `Factory` in the entry-point group `medim.features`."""


def _own(name: str, argument: str | None, device: str) -> Space:
    """A space of this package; its module is loaded now, as each needs packages of its own."""
    module, kind, needed = SPACES[name]
    if needed is None and argument is not None:
        raise UserError(f"feature space '{name}' takes no argument, not '{argument}': its weights are fixed")
    if needed is not None and not needed.startswith("[") and argument is None:
        raise UserError(f"feature space '{name}' needs {needed}: {name}:{needed.split()[0]}")
    if name == "torchxrayvision" and argument is not None and Path(argument).exists():
        module, kind = "densenet", "ChestNet"
    if name == "open-clip" and argument is not None and Path(argument).is_dir():
        module, kind = "openclip", "OpenClipFolder"
    factory = getattr(importlib.import_module(f"medim.perception.{module}"), kind)
    space = factory() if needed is None else factory(argument)
    return space if name == "array" else space.to(device)  # an array is no network


def open_features(spec: str, device: str = "cpu") -> Space:
    """Opens a feature space from `NAME` or `NAME:ARGUMENT`.

    `efficientnet-lite0` · `inception[:PATH]` · `inception-clean[:PATH]` · `transformers:PATH-or-hub-id` ·
    `timm:NAME-or-folder` · `open-clip:NAME-or-folder` · `torchxrayvision:WEIGHTS-or-file` · `array:FILE.npz`, and what
    packages register: an entry point of the group `medim.features` is a callable `(argument or None, device) -> FeatureSpace`.

    Raises UserError: an unknown name, or what it needs (a package, weights, a file) is missing or not as it should be.
    """
    name, _, argument = spec.partition(":")
    if name in SPACES:
        return _own(name, argument or None, device)
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in registered:
        raise unknown("feature space", name, [*SPACES, *registered])
    factory: Factory = registered[name].load()
    space = factory(argument or None, device)
    if not isinstance(space, FeatureSpace | Precomputed):
        needed = "name, title, fingerprint, resize, trained_against and features()"
        raise UserError(f"feature space '{name}' of {registered[name].value} is no feature space: it lacks one of {needed}")
    return space
