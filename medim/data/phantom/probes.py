"""Pictures with one lesion of a given size and contrast, and the report that tells of it: a contrast-detail phantom each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom in units of the picture's side


@dataclass(frozen=True)
class Lesion:
    """What is drawn, and the grid of its sizes and contrasts."""

    name: str  # `nodule` or `pigment`
    unit: str  # of sizes
    width: float  # of the picture, in that unit
    sizes: tuple[float, ...]  # diameters, ascending
    # differences from the surround as a share of the display range, ascending; the last is usual in the data set
    contrasts: tuple[float, ...]
    # the report's word for a size, and a size that it stands for, ascending; the image is then the model's
    grades: Mapping[str, float]
    solid: bool = True  # whether it is one bright spot, whose diameter can be measured


class Probe(Protocol):
    """One case without findings, in which one lesion can be put, always in the same place. `lesion`: what is put in. `label`:
    the finding that a checker should then read. `box`: where it may be, for a lesion that is measured."""

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


def side_box(side: str, outwards: tuple[float, float], down: tuple[float, float]) -> Box:
    """A box beside the midline; the patient's left is on the image's right."""
    if side == "left":
        return (0.5 + outwards[0], down[0], 0.5 + outwards[1], down[1])
    return (0.5 - outwards[1], down[0], 0.5 - outwards[0], down[1])
