"""What scoring needs besides the predictions: checkers, features and the seed, computed once per content."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image

from medim.data.dataset import Checker, PairDataset
from medim.data.images import GEOMETRY, to_tensor
from tasks.protocols import PROTOCOL

BATCH = 32
NO_FINDINGS: frozenset[str] = frozenset()

Item = TypeVar("Item")
Result = TypeVar("Result")


class FeatureExtractor(Protocol):
    """Images to feature vectors, with what a signature needs to say about it."""

    name: str
    fingerprint: str
    resize: str

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] as features (B, D)."""


def efficientnet_lite0(device: str) -> FeatureExtractor:
    """The default feature space.

    Raises:
        UserError: the extra `scoring` is missing.
    """
    from medim.perception.efficientnet import EfficientNetLite0Features

    return EfficientNetLite0Features().to(device)


@dataclass
class Context:
    """Built once per run and shared by all systems, so that the references are measured once.

    Attributes:
        image_checker, report_checker: None where the data set has none; metrics that need one are then withheld.
        device: where features are computed.
        seed: of every resampling; equal seeds give equal intervals.
        extractor: makes the feature space, at its first use.
    """

    image_checker: Checker | None = None
    report_checker: Checker | None = None
    device: str = "cpu"
    seed: int = 0
    protocol: str = PROTOCOL
    extractor: Callable[[str], FeatureExtractor] = efficientnet_lite0
    _extractor: FeatureExtractor | None = field(default=None, repr=False)
    _features: dict[str, Any] = field(default_factory=dict, repr=False)
    _image_findings: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)
    _report_findings: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def for_dataset(cls, dataset: PairDataset, device: str = "cpu", seed: int = 0) -> "Context":
        """The context of one data set, with its checkers."""
        return cls(image_checker=dataset.image_checker(), report_checker=dataset.report_checker(), device=device, seed=seed)

    @property
    def feature_space(self) -> FeatureExtractor:
        """The extractor itself.

        Raises:
            UserError: its package is missing.
        """
        if self._extractor is None:
            self._extractor = self.extractor(self.device)
        return self._extractor

    def features_signature(self) -> dict[str, Any]:
        """Name, weights hash and geometry of the feature space, for signatures."""
        space = self.feature_space
        return {"features": space.name, "features_weights": space.fingerprint, "resize": space.resize, "geometry": GEOMETRY}

    def image_features(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Features of images, float64 (N, D). An image seen before is not computed again."""
        space = self.feature_space

        def compute(missing: list[Image.Image]) -> list[Any]:
            rows: list[np.ndarray] = []
            for _, same_size in groupby(missing, key=lambda image: image.size):
                group = list(same_size)
                for start in range(0, len(group), BATCH):
                    batch = to_tensor(group[start : start + BATCH]).to(self.device)
                    rows.extend(space.features(batch).double().cpu().numpy())
            return rows

        return np.stack(_cached(self._features, images, image_key, compute))

    def image_findings(self, images: Sequence[Image.Image | None]) -> list[frozenset[str]]:
        """Findings that the image checker reads; a missing image shows none.

        Raises:
            ValueError: there is no image checker.
        """
        return _checked(self.image_checker, "image", self._image_findings, images, image_key)

    def report_findings(self, reports: Sequence[str | None]) -> list[frozenset[str]]:
        """Findings that the report checker reads; a missing report states none.

        Raises:
            ValueError: there is no report checker.
        """
        return _checked(self.report_checker, "report", self._report_findings, reports, lambda report: report)


def image_key(image: Image.Image) -> str:
    """Hash of an image's mode, size and pixels."""
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()


def _checked(
    checker: Checker | None,
    modality: str,
    cache: dict[str, frozenset[str]],
    items: Sequence[Any],
    key: Callable[[Any], str],
) -> list[frozenset[str]]:
    if checker is None:
        raise ValueError(f"the data set has no {modality} checker")
    present = [item for item in items if item is not None]
    found = iter(_cached(cache, present, key, lambda missing: checker(missing)))
    return [NO_FINDINGS if item is None else next(found) for item in items]


def _cached(
    cache: dict[str, Result],
    items: Sequence[Item],
    key: Callable[[Item], str],
    compute: Callable[[list[Item]], Sequence[Result]],
) -> list[Result]:
    """`compute` of the items that `cache` does not hold yet, each once; the results of all, in order."""
    keys = [key(item) for item in items]
    missing = {k: item for k, item in zip(keys, items, strict=True) if k not in cache}
    if missing:
        cache.update(zip(missing, compute(list(missing.values())), strict=True))
    return [cache[k] for k in keys]
