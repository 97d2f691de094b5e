"""Nodules of a given size and contrast in chests of version 1."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from medim.common.declared import read_table
from medim.common.streams import stream
from medim.data.phantom.brushes import blend, inside
from medim.data.phantom.labels import CHEST
from medim.data.phantom.probes import Box, Lesion, side_box
from medim.data.phantom.v1.cases import COHORT, Case, sample_case
from medim.data.phantom.v1.chest import Radiograph
from medim.data.phantom.v1.report import write_report

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
