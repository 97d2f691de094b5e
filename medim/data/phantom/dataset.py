"""What the data sets of all phantom versions share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from PIL import Image

from medim.common.errors import UserError, unknown
from medim.data.dataset import Keys
from medim.data.phantom.checkers import CheckerDesign, ReportChecker
from medim.data.phantom.labels import DOMAINS, LABELS
from medim.data.phantom.probes import Probe
from medim.pair import SPLITS, ImageReportPair

if TYPE_CHECKING:
    from medim.data.phantom.image_checker import ImageChecker


@dataclass(frozen=True)
class Cohort:
    """All cases of one version. Everything in a phantom is a pure function of (version, split, index)."""

    name: str  # of the data set
    version: int  # enters every stream
    sizes: Mapping[str, int]  # cases of each split
    studies: tuple[int, ...]  # numbers of studies of consecutive patients of one domain; the pattern repeats
    purposes: tuple[str, ...]  # what streams are for; the position in this tuple enters the stream
    digits: int  # of indices and patients in ids

    def size(self, split: str) -> int:
        """Number of cases of a split. Raises UserError: unknown split."""
        if split not in self.sizes:
            raise unknown("split", split, self.sizes)
        return self.sizes[split]

    def locate(self, split: str, index: int) -> tuple[str, int, int]:
        """(domain, patient, visit) of a case; patients are numbered per split and domain, a patient's first visit is 0. Raises
        UserError: unknown split. Raises IndexError: `index` outside the split."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"{self.name} {split} has {self.size(split)} pairs; index {index} is outside")
        firsts = list(accumulate(self.studies, initial=0))  # first study of each patient of the pattern, and its length
        block, place = divmod(index // len(DOMAINS), firsts[-1])
        member = max(number for number, first in enumerate(firsts) if first <= place)
        return DOMAINS[index % len(DOMAINS)], block * len(self.studies) + member, place - firsts[member]

    def keys(self, split: str, index: int) -> Keys:
        """Id, study and patient of a case. Raises as `locate`."""
        domain, patient, visit = self.locate(split, index)
        person = f"{self.name}-{split}-{domain[0]}{patient:0{self.digits}d}"
        return Keys(f"{self.name}-{split}-{index:0{self.digits}d}", f"{person}-s{visit}", person)

    def stream(self, split: str, purpose: str, *key: int) -> np.random.Generator:
        """An independent generator for one purpose of one split; `key` is what it belongs to, such as the case's index."""
        entropy = [self.version, SPLITS.index(split), self.purposes.index(purpose), *key]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def patient_stream(self, split: str, purpose: str, domain: str, patient: int) -> np.random.Generator:
        """The generator of what a patient's studies share."""
        return self.stream(split, purpose, DOMAINS.index(domain), patient)


TERMS = "CC0-1.0 (procedural, synthetic: no patient)"


class Phantom(ABC):
    """Synthetic pairs, drawn and written on the fly; no patient stands behind them.
    Pair `index` of a split is a pure function of (version, split, index, options)."""

    name: ClassVar[str]
    cohort: ClassVar[Cohort]  # its cases by split and index
    resolutions: ClassVar[tuple[int, int]]  # smallest and largest side of a picture, in pixels
    pictures: ClassVar[str]  # hash of cases and pictures
    design: ClassVar[CheckerDesign]  # of its image checkers
    folder: ClassVar[Path]  # of its data files
    openings: ClassVar[frozenset[str]]  # sentences of its reports that say what the picture is
    fingerprint: str
    synthetic = True
    terms = TERMS
    domains = DOMAINS
    labels = LABELS

    def __init__(self, resolution: int) -> None:
        low, high = self.resolutions
        if not low <= resolution <= high:
            raise UserError(f"{self.name}: resolution {resolution} is outside {low}..{high}")
        self.resolution = resolution

    @abstractmethod
    def with_resolution(self, resolution: int) -> Self:
        """The same pairs drawn at another resolution."""

    def size(self, split: str) -> int:
        """Number of pairs of a split. Raises UserError: unknown split."""
        return self.cohort.size(split)

    def keys(self, split: str, index: int) -> Keys:
        """Id, study and patient of `pair(split, index)`, without drawing it."""
        return self.cohort.keys(split, index)

    @staticmethod
    @abstractmethod
    def case(split: str, index: int) -> Any:
        """What is in the pair at `index`. Raises as `pair`."""

    @abstractmethod
    def pair(self, split: str, index: int) -> ImageReportPair:
        """The pair at `index` (0-based) of a split; its image is RGB, `resolution` pixels square. Raises UserError: unknown
        split. Raises IndexError: `index` outside the split."""

    @abstractmethod
    def reworded(self, split: str, index: int) -> str:
        """Another report of the pair at `index`: the same findings in other words."""

    @abstractmethod
    def probe(self, split: str, index: int) -> Probe | None:
        """The case at `index` without its findings, for one lesion of a given size; None where it has no room for one."""

    @classmethod
    @abstractmethod
    def training_cases(cls, start: int, count: int, seed: int) -> list[Any]:
        """What an image checker is trained on: cases from `start` of the training split."""

    @staticmethod
    @abstractmethod
    def draw(case: Any, resolution: int) -> Image.Image:
        """The picture of a case, RGB; the same picture at any resolution."""

    @abstractmethod
    def report_checker(self) -> ReportChecker:
        """Reads findings from reports; exact on this set's wordings."""

    def image_checker(self) -> "ImageChecker":
        """Reads findings from images: the shipped classifier that scores; it never steers.
        Raises UserError: its weights are missing."""
        return self._image_checker("score")

    def steering_image_checker(self) -> "ImageChecker":
        """Another classifier, trained on other cases: for guidance and repair, whose results it must not score.
        Raises UserError: its weights are missing."""
        return self._image_checker("steer")

    @classmethod
    def checker_path(cls, role: str) -> Path:
        """Weights of the shipped checker that scores (`score`), or of the one that steers (`steer`)."""
        return cls.folder / "weights" / f"image_checker_{role}.safetensors"

    def _image_checker(self, role: str) -> "ImageChecker":
        from medim.data.phantom.image_checker import ImageChecker  # lazy: start-up

        return ImageChecker.load(self.checker_path(role), self.design)
