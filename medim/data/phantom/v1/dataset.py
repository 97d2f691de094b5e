"""Phantom version 1 as a data set. It is frozen: a test holds the hash of its cases, pictures and reports."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from medim.common.declared import read_table
from medim.common.errors import unknown
from medim.common.files import hash_of
from medim.common.streams import stream
from medim.data.phantom.brushes import blend, inside
from medim.data.phantom.checkers import CheckerDesign, ReportChecker
from medim.data.phantom.dataset import TERMS, Phantom
from medim.data.phantom.labels import CHEST, LABELS_BY_DOMAIN
from medim.data.phantom.probes import Box, Lesion, Probe, side_box
from medim.data.phantom.v1.cases import COHORT, Case, sample_case
from medim.data.phantom.v1.chest import Radiograph, draw_chest
from medim.data.phantom.v1.pathology import RADIUS, Patch, draw_pathology, place
from medim.data.phantom.v1.report import WORDS, write_report
from medim.data.phantom.v1.report_checker import CHECKER
from medim.pair import ImageReportPair

VISIBLE = 0.04  # of a film's full range, by which a finding has to change it
PLACES = 12  # a region of tissue that is not there yet goes to the freest of so many x so many places
_KINDS = {"glands": "gland", "lymphocytic infiltrate": "lymphocytes", "necrosis": "necrosis", "pigment": "pigment"}


class _Middle:
    """Stands for a random stream where the middle of each range is wanted."""

    def uniform(self, low: float, high: float, size: int | None = None) -> float | np.ndarray:
        middle = (low + high) / 2
        return middle if size is None else np.full(size, middle)


def finding_region(case: Case, label: str, resolution: int) -> np.ndarray:
    """Pixels (resolution, resolution) that show the finding; where the case lacks it, those that would, at any grade.

    A chest is in its own pose, and the finding at the middle of its range; tissue has the finding's own places, or the freest
    place; the density of cells is a finding of the whole picture.

    Raises UserError: a label of another domain.
    """
    if label not in LABELS_BY_DOMAIN[case.domain]:
        raise unknown(f"{case.domain} finding", label, LABELS_BY_DOMAIN[case.domain])
    return (_chest if case.domain == CHEST else _tissue)(case, label, resolution)


def _chest(case: Case, label: str, resolution: int) -> np.ndarray:
    film = Radiograph(case, resolution)
    film.rng = _Middle()  # type: ignore[assignment]
    film.body()
    film.heart(enlarged=False)
    before, marked = film.image.copy(), np.zeros(film.image.shape, bool)
    for grade in _grades(label):
        film.image = before.copy()
        film.put(label, grade)
        marked |= np.abs(film.image - before) > VISIBLE
    return marked


def _grades(label: str) -> tuple[str | None, ...]:
    if label.endswith("consolidation"):
        return ("upper", "lower")
    return ("small", "large") if label.endswith(("nodule", "effusion")) else (None,)


def _tissue(case: Case, label: str, resolution: int) -> np.ndarray:
    if label not in _KINDS:
        return np.ones((resolution, resolution), bool)
    patch = Patch(case, resolution)
    kind, regions = _KINDS[label], place(case, patch.rng)
    circles = [(region.x, region.y, region.radius) for region in regions if region.kind == kind]
    if not circles:
        radius = RADIUS[kind]
        ticks = np.linspace(min(radius, 0.2), 1 - min(radius, 0.2), PLACES)
        xs, ys = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
        gaps = [np.hypot(xs - region.x, ys - region.y) - region.radius for region in regions]
        best = int(np.argmax(np.min(gaps, axis=0))) if gaps else len(xs) // 2
        circles = [(float(xs[best]), float(ys[best]), radius)]
    return np.any([np.hypot(patch.x - cx, patch.y - cy) < 1.1 * radius for cx, cy, radius in circles], axis=0)


LESIONS = read_table(Path(__file__).with_name("lesions.yaml"), dict[str, Lesion])


@dataclass(frozen=True)
class NoduleProbe:
    """A chest and its nodule in the mid zone."""

    case: Case
    side: str
    place: tuple[float, float]  # outwards from the midline, down
    lesion: Lesion = LESIONS["nodule"]

    @classmethod
    def of(cls, split: str, index: int) -> "NoduleProbe | None":
        """The probe at `index`; None for pathology, whose regions have no size of their own here."""
        case = sample_case(split, index)
        if case.domain != CHEST:
            return None
        rng = stream(index, 1)
        side = ("left", "right")[index // 2 % 2]
        place = (float(rng.uniform(0.185, 0.25)), float(rng.uniform(0.38, 0.46)))
        return cls(replace(case, labels=(), attributes={}), side, place)

    @property
    def label(self) -> str:
        return f"{self.side} nodule"

    @property
    def box(self) -> Box:
        return side_box(self.side, (0.13, 0.30), (0.32, 0.52))

    def draw(self, size: float, contrast: float, resolution: int) -> Image.Image:
        film = Radiograph(self.case, resolution)
        film.body()
        film.heart(enlarged=False)
        distance = np.hypot(film.lateral[self.side] - self.place[0], film.y - self.place[1]) - np.float32(size / 200)
        blend(film.image, film.image + np.float32(contrast), inside(distance, film.soft))
        return film.expose()

    def report(self, grade: str | None) -> str:
        said = {} if grade is None else {self.label: grade}
        case = replace(self.case, labels=tuple(said), attributes=said)
        return write_report(case, COHORT.stream(case.split, "report", case.index))


FINGERPRINT = "77fe521925c5e3d7"


class PhantomV1(Phantom):
    """Phantom version 1: chest-radiograph-like and H&E-like pictures with reports of at most 44 words. `resolution`: side of
    the square pictures in pixels, 32 to 2048. Raises UserError: resolution out of range."""

    name = "phantom"
    cohort = COHORT
    resolutions = (32, 2048)
    pictures = FINGERPRINT
    folder = Path(__file__).parent
    openings = frozenset(opening for openings in WORDS.openings.values() for opening in openings)
    design = read_table(folder / "checker.yaml", CheckerDesign)

    def __init__(self, resolution: int = 64) -> None:
        super().__init__(resolution)
        self.fingerprint = FINGERPRINT if resolution == 64 else hash_of([FINGERPRINT, resolution])  # other pixels

    def with_resolution(self, resolution: int) -> "PhantomV1":
        return PhantomV1(resolution)

    @staticmethod
    def case(split: str, index: int) -> Case:
        return sample_case(split, index)

    @staticmethod
    def draw(case: Case, resolution: int) -> Image.Image:
        return (draw_chest if case.domain == CHEST else draw_pathology)(case, resolution)

    @classmethod
    def training_cases(cls, start: int, count: int, seed: int) -> list[Case]:
        return [sample_case("train", index) for index in range(start, start + count)]

    def pair(self, split: str, index: int) -> ImageReportPair:
        case = sample_case(split, index)
        keys = self.keys(split, index)
        return ImageReportPair(
            id=keys.id,
            image=self.draw(case, self.resolution),
            report=write_report(case, COHORT.stream(split, "report", index)),
            split=split,
            study=keys.study,
            patient=keys.patient,
            view="frontal" if case.domain == CHEST else None,
            domain=case.domain,
            findings=case.labels,
            terms=TERMS,
            extra=MappingProxyType({"attributes": dict(case.attributes)}),
        )

    def reworded(self, split: str, index: int) -> str:
        return write_report(sample_case(split, index), np.random.default_rng([7, index]))

    def probe(self, split: str, index: int) -> Probe | None:
        return NoduleProbe.of(split, index)

    def finding_region(self, split: str, index: int, label: str) -> np.ndarray:
        """Pixels (resolution, resolution) that show a finding of the pair at `index`, or would; see `regions`.
        Raises UserError: unknown split, or a label of the other domain."""
        return finding_region(sample_case(split, index), label, self.resolution)

    def report_checker(self) -> ReportChecker:
        return CHECKER
