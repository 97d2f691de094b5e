"""Phantom version 1 as a data set. It is frozen: a test holds the hash of its cases, pictures and reports."""

from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from medim.common.declared import read_table
from medim.common.files import hash_of
from medim.data.phantom.checkers import CheckerDesign, ReportChecker
from medim.data.phantom.dataset import TERMS, Phantom
from medim.data.phantom.labels import CHEST
from medim.data.phantom.probes import Probe
from medim.data.phantom.v1.cases import COHORT, Case, sample_case
from medim.data.phantom.v1.chest import draw_chest
from medim.data.phantom.v1.pathology import draw_pathology
from medim.data.phantom.v1.probes import NoduleProbe
from medim.data.phantom.v1.regions import finding_region
from medim.data.phantom.v1.report import WORDS, write_report
from medim.data.phantom.v1.report_checker import CHECKER
from medim.pair import ImageReportPair

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
