"""Phantoms with one lesion of a given size and contrast, and the report that tells of it: a contrast-detail phantom each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from PIL import Image

from medim.common.streams import stream
from medim.data.dataset import PairDataset, keys_of
from medim.data.phantom.v1 import cases as cases_v1
from medim.data.phantom.v1 import dataset as phantom_v1
from medim.data.phantom.v1 import streams as streams_v1
from medim.data.phantom.v1.chest import ChestBuild, Radiograph
from medim.data.phantom.v1.draw import blend, inside
from medim.data.phantom.v2 import cases as cases_v2
from medim.data.phantom.v2 import dataset as phantom_v2
from medim.data.phantom.v2.drawing.pictures import draw
from medim.data.phantom.v2.drawing.placement import places_of
from medim.data.phantom.v2.findings import severity_of
from medim.data.phantom.v2.names import CHEST, CHEST_MM, PATCH_UM, PATHOLOGY
from medim.data.sources.selection import Subset

PROBED = 24
"""Cases of each domain that carry probes, at most."""
Box = tuple[float, float, float, float]
"""left, top, right, bottom in units of the picture's side."""


@dataclass(frozen=True)
class Lesion:
    """What is drawn, and the grid of its sizes and contrasts.

    Attributes:
        name: `nodule` or `pigment`.
        unit: of sizes.
        width: of the picture, in that unit.
        sizes: diameters, ascending.
        contrasts: differences from the surround as a share of the display range, ascending; the last is usual in the data set.
        grades: the report's word for a size, and a size that it stands for, ascending; the image is then the model's.
        solid: whether it is one bright spot, whose diameter can be measured.
    """

    name: str
    unit: str
    width: float
    sizes: tuple[float, ...]
    contrasts: tuple[float, ...]
    grades: Mapping[str, float]
    solid: bool = True


NODULE_V1 = Lesion(
    "nodule", "% of the width", 100.0, (2, 3, 4.5, 6.5, 9.5, 13, 16), (0.1, 0.25, 0.65), {"small": 9.5, "large": 15.8}
)
NODULE_V2 = Lesion(
    "nodule", "mm", CHEST_MM, (5, 7, 10, 14, 20, 28, 40), (0.12, 0.25, 0.46), {"mild": 16, "moderate": 21, "severe": 27}
)
PIGMENT_V2 = Lesion(
    "pigment", "micrometres", PATCH_UM, (8, 12, 18, 26, 38, 56), (0.15, 0.3, 0.59),
    {"mild": 28, "moderate": 39, "severe": 52}, solid=False,
)  # fmt: skip


class Probe(Protocol):
    """One case of a data set without findings, in which one lesion can be put, always in the same place.

    Attributes:
        lesion: what is put in.
        label: the finding that a checker should then read.
        box: where it may be, for a lesion that is measured.
    """

    @property
    def lesion(self) -> Lesion: ...

    @property
    def label(self) -> str: ...

    @property
    def box(self) -> Box: ...

    def draw(self, size: float, contrast: float, resolution: int) -> Image.Image:
        """The picture with the lesion; a contrast of 0 leaves it out and changes nothing else."""

    def report(self, grade: str | None) -> str:
        """The report that tells of the lesion in this grade; of its absence (None)."""


def _side_box(side: str, u: tuple[float, float], y: tuple[float, float]) -> Box:
    """A box beside the midline; the patient's left is on the image's right."""
    return (0.5 + u[0], y[0], 0.5 + u[1], y[1]) if side == "left" else (0.5 - u[1], y[0], 0.5 - u[0], y[1])


@dataclass(frozen=True)
class ProbeV1:
    """A chest of phantom version 1 and its nodule in the mid zone."""

    case: cases_v1.Case
    side: str
    place: tuple[float, float]  # outwards from the midline, down
    lesion: Lesion = NODULE_V1

    @classmethod
    def of(cls, split: str, index: int) -> "ProbeV1 | None":
        """The probe at `index`; None for pathology, whose regions have no size of their own here."""
        case = cases_v1.sample_case(split, index)
        if case.domain != CHEST:
            return None
        rng = stream(index, 1)
        side = ("left", "right")[index // 2 % 2]
        place = (float(rng.uniform(0.185, 0.25)), float(rng.uniform(0.38, 0.46)))
        return cls(replace(case, findings=(), attributes={}), side, place)

    @property
    def label(self) -> str:
        return f"{self.side} nodule"

    @property
    def box(self) -> Box:
        return _side_box(self.side, (0.13, 0.30), (0.32, 0.52))

    def draw(self, size: float, contrast: float, resolution: int) -> Image.Image:
        build = ChestBuild.sample(streams_v1.patient_stream(self.case.split, self.case.domain, self.case.patient))
        film = Radiograph(build, streams_v1.stream(self.case.split, "picture", self.case.index), resolution)
        film.body()
        film.heart(enlarged=False)
        distance = np.hypot(film.lateral[self.side] - self.place[0], film.y - self.place[1]) - np.float32(size / 200)
        blend(film.image, film.image + np.float32(contrast), inside(distance, film.soft))
        grey = np.rint(film.expose() * 255.0).astype(np.uint8)
        return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))

    def report(self, grade: str | None) -> str:
        said = {} if grade is None else {self.label: grade}
        return phantom_v1.report_of(replace(self.case, findings=tuple(said), attributes=said))


@dataclass(frozen=True)
class ProbeV2:
    """A chest of phantom version 2 and its nodule in the mid zone, or a patch and its cluster of pigment."""

    case: cases_v2.Case
    lesion: Lesion
    label: str
    places: tuple[tuple[float, float], ...]
    options: phantom_v2.Options = field(default_factory=phantom_v2.Options)

    @classmethod
    def of(cls, split: str, index: int, options: phantom_v2.Options) -> "ProbeV2 | None":
        """The probe at `index`; None where the picture has no room for the largest size."""
        case = cases_v2.sample_case(split, index)
        chest = case.domain == CHEST
        case = replace(case, findings=(), prior=None, cellularity=None if chest else "moderate")
        label = f"{('left', 'right')[index // 2 % 2]} nodule" if chest else "pigment"
        lesion = NODULE_V2 if chest else PIGMENT_V2
        places = places_of(label, lesion.sizes[-1], 1, "mid" if chest else None, (), stream(index, 1))
        sure = replace(options, omission=0.0, uncertainty=0.0)
        return None if places is None else cls(case, lesion, label, places, sure)

    @property
    def box(self) -> Box:
        return _side_box(self.label.partition(" ")[0], (0.10, 0.30), (0.34, 0.52))

    def _with(self, size: float, contrast: float) -> cases_v2.Case:
        zone = None if self.case.domain == PATHOLOGY else "mid"
        severity = severity_of(self.label, size, contrast)
        lesion = cases_v2.Finding(self.label, severity, size, contrast, 1, zone, self.places)
        return replace(self.case, findings=(lesion,))

    def draw(self, size: float, contrast: float, resolution: int) -> Image.Image:
        return draw(self._with(size, contrast), resolution)

    def report(self, grade: str | None) -> str:
        case = self.case
        if grade is not None:
            case = self._with(self.lesion.grades[grade], self.lesion.contrasts[-1])
        return phantom_v2.report_of(case, self.options).text


def unwrapped(dataset: PairDataset) -> PairDataset:
    """The data set itself, of a part of which `dataset` is made."""
    return unwrapped(dataset.base) if isinstance(dataset, Subset) else dataset


def draws_probes(dataset: PairDataset) -> bool:
    """Whether lesions of a given size and contrast can be drawn in this data set's pictures."""
    return isinstance(unwrapped(dataset), phantom_v1.PhantomDataset | phantom_v2.PhantomV2)


def probes_of(ids: Sequence[str], dataset: PairDataset, most: int = PROBED) -> dict[str, Probe]:
    """Probes in the first cases of each domain that have room for one, at most `most` of each; by id."""
    base = unwrapped(dataset)
    result: dict[str, Probe] = {}
    counts: dict[str, int] = {}
    for id in ids:
        _, split, number = id.rsplit("-", 2)
        index = int(number)
        assert keys_of(base, split, index).id == id
        probe: Probe | None = ProbeV2.of(split, index, base.options) if isinstance(base, phantom_v2.PhantomV2) else (
            ProbeV1.of(split, index)
        )  # fmt: skip
        if probe is not None and counts.get(probe.lesion.name, 0) < most:
            counts[probe.lesion.name] = counts.get(probe.lesion.name, 0) + 1
            result[id] = probe
    return result
