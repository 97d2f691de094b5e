"""Baselines as systems under test: what retrieval, copying and ignoring the input give on the same cases."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.data.dataset import PairDataset
from medim.perception.space import DEFAULT, open_features
from tasks.adapters.adapter import read_settings
from tasks.baselines.anchors import TfIdf, constant_of, nearest
from tasks.cases import cases_of, has_images, own_resolution
from tasks.metrics.image.features import FeatureBank
from tasks.protocols import Case, Request

DEFAULTS: dict[str, Any] = {"training": 4096}
_BLOCK = 256


class Baseline(ABC):
    """A system that has only the training split to draw on; by default it copies at random.
    Settings: `training`, how many training cases it knows (the first ones of the split; 0 for all).
    `device`: where image features are computed.
    `features`: folder where features of training images outlive the run; None for none.
    Raises UserError: the set has no training pairs, or no images."""

    name: str
    kind: str

    def __init__(self, dataset: PairDataset, training: int, device: str = "cpu", features: Path | None = None) -> None:
        if not has_images(dataset) or not dataset.size("train"):
            raise UserError(f"a baseline needs training pairs, and data set '{dataset.name}' has none")
        self.dataset, self.training, self.device, self._folder = dataset, training, device, features
        side = own_resolution(dataset, "train")
        assert side is not None
        self.resolution = side
        self.fingerprint = hash_of([self.kind, dataset.fingerprint, training, self.resolution])

    def settings(self) -> dict[str, Any]:
        """What it is and what it knows."""
        return {"baseline": self.kind, "training": self.training or "all"}

    @cached_property
    def cases(self) -> list[Case]:
        return cases_of(self.dataset, "train", self.resolution, self.training or None)

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        """One training image per report."""
        return [self._drawn(seed)[0].image for seed in seeds]

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        """One training report per image."""
        return [self._drawn(seed)[0].report for seed in seeds]

    @abstractmethod
    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        """One training image and report per prompt."""

    def _drawn(self, seed: int, count: int = 1) -> list[Case]:
        """Different training cases, at random."""
        generator = np.random.default_rng(seed)
        chosen = generator.choice(len(self.cases), size=min(count, len(self.cases)), replace=False)
        return [self.cases[index] for index in chosen]


class NearestNeighbour(Baseline):
    """Retrieval: the report of the training image nearest in EfficientNet-Lite0 features (cosine), the image of the training
    report nearest by TF-IDF of words and word pairs (cosine). It cannot do what gives it nothing to search by."""

    name = kind = "nearest-neighbour"

    def settings(self) -> dict[str, Any]:
        """Also how it searches."""
        return super().settings() | {"images": f"{DEFAULT}, cosine", "reports": "TF-IDF of words and word pairs, cosine"}

    def cannot(self, task: Request) -> str | None:
        """Unprompted generation."""
        return None if task.prompted else "it needs an image or a report to search by"

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        return [self.cases[self._reports.nearest(report)].image for report in reports]

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        bank, features = self._images
        return [self.cases[row].report for row in nearest(bank.features(images), features)]

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        """The training pair whose report is nearest to the prompt; a UserError without one."""
        if not all(prompt.strip() for prompt in prompts):
            raise UserError(f"'{self.name}' cannot generate pairs from nothing: it needs a prompt to search by")
        found = [self.cases[self._reports.nearest(prompt)] for prompt in prompts]
        return [(case.image, case.report) for case in found]

    @cached_property
    def _reports(self) -> TfIdf:
        return TfIdf([case.report for case in self.cases])

    @cached_property
    def _images(self) -> tuple[FeatureBank, np.ndarray]:
        """The bank, and features of the training images (N, D) float32."""
        bank = FeatureBank(open_features(DEFAULT, self.device), self.device, self._folder)
        images = [case.image for case in self.cases]
        blocks = [bank.features(images[at : at + _BLOCK], keep=True) for at in range(0, len(images), _BLOCK)]
        return bank, np.concatenate(blocks).astype(np.float32)


class TrainingCopy(Baseline):
    """A training pair, drawn at random, verbatim: perfect as a sample and nothing but memory. The ceiling of memorisation."""

    name = kind = "training-copy"

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        return [(case.image, case.report) for case in (self._drawn(seed)[0] for seed in seeds)]


class Shuffled(Baseline):
    """The image of one random training case and the report of another: each is real, and they are strangers."""

    name, kind = "shuffled-training", "shuffled"

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        return [(both[0].image, both[-1].report) for both in (self._drawn(seed, 2) for seed in seeds)]


class Constant(Baseline):
    """One training pair for everything: with reports, the first that bears the most frequent one; else the image nearest the
    mean image."""

    name, kind = "constant-training", "constant"

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        return [self._image] * len(reports)

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        return [self._pair[1]] * len(images)

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        return [self._pair] * len(prompts)

    @cached_property
    def _image(self) -> Image.Image:
        return constant_of(self.cases, reports=False)[0]

    @cached_property
    def _pair(self) -> tuple[Image.Image, str]:
        return constant_of(self.cases, reports=True)


BASELINES: dict[str, Callable[..., Baseline]] = {
    baseline.kind: baseline for baseline in (NearestNeighbour, TrainingCopy, Shuffled, Constant)
}


def open_baseline(
    name: str, dataset: PairDataset, device: str, overrides: Mapping[str, str], features: Path | None = None
) -> Baseline:
    """The baseline that `baseline:NAME` means.
    Raises UserError: an unknown name or setting, or a data set without training pairs."""
    if name not in BASELINES:
        raise unknown("baseline", name, BASELINES)
    settings = read_settings(overrides, DEFAULTS, f"baseline '{name}'")
    return BASELINES[name](dataset, settings["training"], device, features)
