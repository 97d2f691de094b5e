"""What a finding is: its size, contrast and count, the range each label is drawn from, and what counts as mild or severe."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medim.common.declared import read_table
from medim.data.phantom.labels import kind_of

CHEST_MM = 400.0  # width of a chest picture, millimetres
PATCH_UM = 250.0  # width of a pathology picture, micrometres
SEVERITIES = ("mild", "moderate", "severe")
ZONES = ("upper", "mid", "lower")
Range = tuple[float, float]


@dataclass(frozen=True)
class Spec:
    """How one kind of finding is drawn and graded. Sizes are millimetres in a chest, micrometres in a patch."""

    measures: str  # what `size` measures
    sizes: Range  # smallest and largest, drawn log-uniformly
    contrasts: Range  # weakest and strongest, drawn uniformly; a share of the display range
    # what the severity is read from; None for a finding that has no degrees (its severity is `moderate`)
    graded_by: Literal["size", "contrast"] | None = None
    thresholds: Range = (0.0, 0.0)  # from where it is moderate, and from where it is severe
    counts: tuple[float, ...] = (1.0,)  # probability of one, two, ... of them
    pace: float = 1.0  # exponent on the factor by which findings grow or shrink between visits; a heart changes slowly


@dataclass(frozen=True)
class Odds:
    """Log odds of a finding: at rest, per standard deviation of the patient's illness, and added by other findings."""

    rest: float
    illness: float
    raised: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Tables:
    """`findings.yaml`, where each table is explained."""

    specs: dict[str, Spec]
    moderate_spacing: Range
    order: dict[str, tuple[str, ...]]
    odds: dict[str, Odds]
    persistence: dict[str, float]
    trend: tuple[tuple[float, Range], ...]
    zone_share: dict[str, tuple[float, float, float]]
    places: dict[str, dict[str, tuple[Range, Range]]]
    effusion_limit: dict[str, dict[str, float]]
    regions: dict[str, dict[str, tuple[str, ...]]]


TABLES = read_table(Path(__file__).with_name("findings.yaml"), Tables)


@dataclass(frozen=True)
class Finding:
    """One finding of a case."""

    label: str
    severity: str  # `mild`, `moderate` or `severe`, read from size or contrast; `moderate` where there are no degrees
    size: float  # millimetres (chest) or micrometres (pathology) of what `Spec.measures` says
    contrast: float  # difference from the surround as a share of the display range, 0 to 1; at 0 the finding cannot be seen
    count: int = 1  # nodules of that side, glands, clusters; 1 where it does not apply
    zone: str | None = None  # `upper`, `mid` or `lower` (consolidation, nodule), else None
    # centres, one for each of `count`, where a finding has a place of its own (consolidation, nodule, the regions of
    # pathology), in units of the picture's side: chest (outwards from the midline, down), pathology (right, down). Empty:
    # places are drawn as for a new finding when the picture is
    places: tuple[tuple[float, float], ...] = ()


def spec_of(label: str) -> Spec:
    return TABLES.specs[kind_of(label)]


def severity_of(label: str, size: float, contrast: float) -> str:
    spec = spec_of(label)
    if spec.graded_by is None:
        return "moderate"
    value = size if spec.graded_by == "size" else contrast
    return SEVERITIES[int(value >= spec.thresholds[0]) + int(value >= spec.thresholds[1])]


def is_graded(label: str) -> bool:
    """Whether the label comes in degrees, so that its severity is worth a word."""
    return spec_of(label).graded_by is not None
