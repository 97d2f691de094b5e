"""The embedded default data set: synthetic pairs, drawn and written on the fly."""

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.data.dataset import Keys
from medim.data.phantom.v1.cases import Case, patient_of, sample_case
from medim.data.phantom.v1.chest import ChestBuild, draw_chest
from medim.data.phantom.v1.grammar import write_report
from medim.data.phantom.v1.names import CHEST, DOMAINS, LABELS, SPLIT_SIZES, VERSION
from medim.data.phantom.v1.pathology import TissueBuild, draw_pathology
from medim.data.phantom.v1.regions import finding_region
from medim.data.phantom.v1.streams import patient_stream, stream
from medim.pair import ImageReportPair

if TYPE_CHECKING:
    from medim.data.phantom.v1.image_checker import PhantomImageChecker
    from medim.data.phantom.v1.report_checker import PhantomReportChecker

# Version 1 is frozen: a change of case, picture, wording or split changes `compute_fingerprint()` and fails its test.
FINGERPRINT = "77fe521925c5e3d7"
TERMS = "CC0-1.0 (procedural, synthetic: no patient)"
_THUMBNAIL_OFFSET = 5.47  # keeps every thumbnail of version 1 away from the borders between two steps
WEIGHTS = Path(__file__).parent / "weights"


def draw(case: Case, resolution: int) -> Image.Image:
    """The picture of a case, RGB, `resolution` pixels square (32 to 2048); the same picture at any resolution."""
    rng = stream(case.split, "picture", case.index)
    shared = patient_stream(case.split, case.domain, case.patient)
    if case.domain == CHEST:
        return draw_chest(case, ChestBuild.sample(shared), rng, resolution)
    return draw_pathology(case, TissueBuild.sample(shared), rng, resolution)


def report_of(case: Case) -> str:
    """The report of a case."""
    return write_report(case, stream(case.split, "report", case.index))


def compute_fingerprint() -> str:
    """Hash over version, labels, split sizes, 64 reports with findings of each split, and thumbnails of some pictures.

    Thumbnails are 8 x 8 means in 16 steps, so that the last digit of a sine does not matter and a changed drawing does.
    """
    content: list[object] = [VERSION, LABELS, SPLIT_SIZES]
    for split in SPLIT_SIZES:
        for index in range(64):
            case = sample_case(split, index)
            content.append([case.patient, case.visit, case.findings, sorted(case.attributes.items()), report_of(case)])
            if index < 8:
                means = np.asarray(draw(case, 64), np.float64).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3, 4))
                content.append(np.rint((means + _THUMBNAIL_OFFSET) / 16.0).astype(int).tolist())
    return hash_of(content)


def _keys(split: str, index: int, domain: str, patient: int, visit: int) -> Keys:
    person = f"phantom-{split}-{'c' if domain == CHEST else 'p'}{patient:05d}"
    return Keys(f"phantom-{split}-{index:05d}", f"{person}-s{visit}", person)


class PhantomDataset:
    """Phantom version 1: chest-radiograph-like and H&E-like pictures with reports; synthetic, no patient stands behind them.

    Pair `index` of a split is a pure function of (version, split, index); domains alternate, so every prefix is balanced.

    Args:
        resolution: side of the square pictures in pixels, 32 to 2048.

    Raises:
        UserError: resolution out of range.
    """

    name = "phantom"
    fingerprint = FINGERPRINT
    synthetic = True
    terms = TERMS
    domains = DOMAINS
    labels = LABELS

    def __init__(self, resolution: int = 64) -> None:
        if not 32 <= resolution <= 2048:
            raise UserError(f"phantom: resolution {resolution} is outside 32..2048")
        self.resolution = resolution
        if resolution != 64:  # the same cases, yet other pixels
            self.fingerprint = hash_of([FINGERPRINT, resolution])

    def with_resolution(self, resolution: int) -> "PhantomDataset":
        """The same pairs drawn at another resolution."""
        return PhantomDataset(resolution)

    def size(self, split: str) -> int:
        """Number of pairs of a split.

        Raises:
            UserError: unknown split.
        """
        if split not in SPLIT_SIZES:
            raise unknown("split", split, SPLIT_SIZES)
        return SPLIT_SIZES[split]

    def pair(self, split: str, index: int) -> ImageReportPair:
        """The pair at `index` (0-based) of a split; its image is RGB, `resolution` pixels square.

        Raises:
            UserError: unknown split.
            IndexError: `index` outside the split.
        """
        case = sample_case(split, index)
        names = _keys(split, index, case.domain, case.patient, case.visit)
        return ImageReportPair(
            id=names.id,
            image=draw(case, self.resolution),
            report=report_of(case),
            split=split,
            study=names.study,
            patient=names.patient,
            view="frontal" if case.domain == CHEST else None,
            domain=case.domain,
            findings=case.findings,
            terms=TERMS,
            extra=MappingProxyType({"attributes": dict(case.attributes)}),
        )

    def keys(self, split: str, index: int) -> Keys:
        """Id, study and patient of `pair(split, index)`, without drawing it."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"phantom {split} has {self.size(split)} pairs; index {index} is outside")
        return _keys(split, index, DOMAINS[index % len(DOMAINS)], *patient_of(index))

    def finding_region(self, split: str, index: int, label: str) -> np.ndarray:
        """Pixels (resolution, resolution) that show a finding of the pair at `index`, or would; see `regions`.

        Raises:
            UserError: unknown split, or a label of the other domain.
        """
        return finding_region(sample_case(split, index), label, self.resolution)

    def report_checker(self) -> "PhantomReportChecker":
        """Reads findings from reports; exact on this set's grammar."""
        from medim.data.phantom.v1.report_checker import PhantomReportChecker

        return PhantomReportChecker()

    def image_checker(self) -> "PhantomImageChecker":
        """Reads findings from images: the shipped scoring classifier.

        Raises:
            UserError: its weights are missing.
        """
        from medim.data.phantom.v1.image_checker import PhantomImageChecker  # needs torch; pairs do not

        return PhantomImageChecker.load(WEIGHTS / "image_checker_score.safetensors")

    def steering_image_checker(self) -> "PhantomImageChecker":
        """Another classifier, trained on other cases: for guidance and repair, whose results it must not score.

        Raises:
            UserError: its weights are missing.
        """
        from medim.data.phantom.v1.image_checker import PhantomImageChecker

        return PhantomImageChecker.load(WEIGHTS / "image_checker_steer.safetensors")
