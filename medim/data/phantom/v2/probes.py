"""Lesions of a given size and contrast in pictures of version 2."""

from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from medim.common.declared import read_table
from medim.common.streams import stream
from medim.data.phantom.labels import CHEST, PATHOLOGY
from medim.data.phantom.probes import Box, Lesion, side_box
from medim.data.phantom.v2.cases import Case, sample_case
from medim.data.phantom.v2.drawing.chest import draw_chest
from medim.data.phantom.v2.drawing.pathology import draw_pathology
from medim.data.phantom.v2.findings import Finding, severity_of
from medim.data.phantom.v2.placement import places_of
from medim.data.phantom.v2.writing.report import write_report
from medim.data.phantom.v2.writing.statements import Options

LESIONS = read_table(Path(__file__).with_name("lesions.yaml"), dict[str, Lesion])


@dataclass(frozen=True)
class LesionProbe:
    """A chest and its nodule in the mid zone, or a patch and its cluster of pigment."""

    case: Case
    lesion: Lesion
    label: str
    places: tuple[tuple[float, float], ...]
    options: Options

    @classmethod
    def of(cls, split: str, index: int, options: Options) -> "LesionProbe | None":
        """The probe at `index`; None where the picture has no room for the largest size."""
        case = sample_case(split, index)
        chest = case.domain == CHEST
        case = replace(case, findings=(), prior=None, cellularity=None if chest else "moderate")
        label = f"{('left', 'right')[index // 2 % 2]} nodule" if chest else "pigment"
        lesion = LESIONS["nodule" if chest else "pigment"]
        places = places_of(label, lesion.sizes[-1], 1, "mid" if chest else None, (), stream(index, 1))
        sure = replace(options, omission=0.0, uncertainty=0.0)
        return None if places is None else cls(case, lesion, label, places, sure)

    @property
    def box(self) -> Box:
        return side_box(self.label.partition(" ")[0], (0.10, 0.30), (0.34, 0.52))

    def draw(self, size: float, contrast: float, resolution: int) -> Image.Image:
        draw = draw_chest if self.case.domain == CHEST else draw_pathology
        return draw(self._with(size, contrast), resolution)

    def report(self, grade: str | None) -> str:
        case = self.case
        if grade is not None:
            case = self._with(self.lesion.grades[grade], self.lesion.contrasts[-1])
        return write_report(case, self.options).text

    def _with(self, size: float, contrast: float) -> Case:
        zone = None if self.case.domain == PATHOLOGY else "mid"
        lesion = Finding(self.label, severity_of(self.label, size, contrast), size, contrast, 1, zone, self.places)
        return replace(self.case, findings=(lesion,))
