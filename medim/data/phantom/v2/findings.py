"""What a finding is: its size, contrast and count, the range each label is drawn from, and what counts as mild or severe.

Chest pictures are 400 mm wide and their sizes are millimetres; pathology patches are 250 micrometres wide and their sizes
micrometres. `SPECS` says for each kind what its size measures.
"""

from dataclasses import dataclass
from typing import Literal

from medim.data.phantom.v2.names import SEVERITIES, kind_of


@dataclass(frozen=True)
class Spec:
    """How one kind of finding is drawn and graded.

    Attributes:
        measures: what `size` measures.
        sizes: smallest and largest by default, drawn log-uniformly.
        contrasts: weakest and strongest by default, drawn uniformly; a share of the display range.
        graded_by: what the severity is read from; None for a finding that has no degrees (its severity is `moderate`).
        thresholds: from where it is moderate, and from where it is severe.
        counts: probability of one, two, ... of them.
        pace: exponent on the factor by which findings grow or shrink between visits; a heart changes slowly.
    """

    measures: str
    sizes: tuple[float, float]
    contrasts: tuple[float, float]
    graded_by: Literal["size", "contrast"] | None = None
    thresholds: tuple[float, float] = (0.0, 0.0)
    counts: tuple[float, ...] = (1.0,)
    pace: float = 1.0


SPECS: dict[str, Spec] = {
    "cardiomegaly": Spec("transverse diameter of the heart, mm", (166, 228), (0.34, 0.46), "size", (184, 206), pace=0.4),
    "effusion": Spec("height of the fluid above the costophrenic angle, mm", (26, 170), (0.40, 0.55), "size", (55, 105)),
    "pneumothorax": Spec("width of the rim of air, mm", (17, 65), (0.16, 0.25), "size", (26, 44)),
    "consolidation": Spec("diameter, mm", (48, 104), (0.34, 0.54), "size", (62, 84)),
    "nodule": Spec("diameter of the largest, mm", (14, 30), (0.34, 0.58), "size", (18, 24), (0.7, 0.2, 0.1)),
    "pulmonary edema": Spec("reach of the haze around each hilum, mm", (70, 112), (0.17, 0.42), "contrast", (0.24, 0.33)),
    "pacemaker": Spec("width of the generator, mm", (42, 56), (0.55, 0.70)),
    "endotracheal tube": Spec("distance of the tip above the carina, mm", (12, 72), (0.45, 0.60)),
    "low cellularity": Spec("mean distance between nuclei, micrometres", (62, 80), (0.40, 0.52)),
    "high cellularity": Spec("mean distance between nuclei, micrometres", (20, 26), (0.40, 0.52)),
    "glands": Spec("diameter of the largest, micrometres", (48, 86), (0.35, 0.50), "size", (58, 72), (0.4, 0.3, 0.2, 0.1)),
    "lymphocytic infiltrate": Spec(
        "diameter of the largest cluster, micrometres", (36, 80), (0.45, 0.62), "size", (46, 62), (0.6, 0.3, 0.1)
    ),
    "necrosis": Spec("diameter, micrometres", (85, 155), (0.16, 0.28), "size", (104, 130)),
    "pigment": Spec("diameter of the largest cluster, micrometres", (24, 60), (0.50, 0.68), "size", (33, 46), (0.5, 0.3, 0.2)),
}
MODERATE_SPACING = (38.0, 47.0)  # mean distance between nuclei where cellularity is neither low nor high, micrometres


@dataclass(frozen=True)
class Finding:
    """One finding of a case.

    Attributes:
        label: one of `names.LABELS`.
        severity: `mild`, `moderate` or `severe`, read from size or contrast by `SPECS`; `moderate` where there are no degrees.
        size: millimetres (chest) or micrometres (pathology); `SPECS[kind].measures` says of what.
        contrast: difference from the surround as a share of the display range, 0 to 1; at 0 the finding cannot be seen.
        count: nodules of that side, glands, clusters; 1 where it does not apply.
        zone: `upper`, `mid` or `lower` (consolidation, nodule), else None.
        places: centres, one for each of `count`, where a finding has a place of its own (consolidation, nodule, the regions
            of pathology), in units of the picture's side: chest (outwards from the midline, down), pathology (right, down).
            Empty: places are drawn as for a new finding when the picture is.
    """

    label: str
    severity: str
    size: float
    contrast: float
    count: int = 1
    zone: str | None = None
    places: tuple[tuple[float, float], ...] = ()


def spec_of(label: str) -> Spec:
    """The spec of a label's kind."""
    return SPECS[kind_of(label)]


def severity_of(label: str, size: float, contrast: float) -> str:
    """`mild`, `moderate` or `severe`."""
    spec = spec_of(label)
    if spec.graded_by is None:
        return "moderate"
    value = size if spec.graded_by == "size" else contrast
    return SEVERITIES[int(value >= spec.thresholds[0]) + int(value >= spec.thresholds[1])]


def is_graded(label: str) -> bool:
    """Whether the label comes in degrees, so that its severity is worth a word."""
    return spec_of(label).graded_by is not None
