"""The words and sizes that define phantom version 2; labels, domains and sides are those of version 1."""

from medim.data.phantom.v1.names import CHEST, DOMAINS, LABELS, LABELS_BY_DOMAIN, PATHOLOGY, SIDES

__all__ = [
    "CHEST",
    "CHEST_MM",
    "DOMAINS",
    "LABELS",
    "LABELS_BY_DOMAIN",
    "PATCH_UM",
    "PATHOLOGY",
    "SEVERITIES",
    "SIDES",
    "SPLIT_SIZES",
    "VERSION",
    "ZONES",
    "kind_of",
    "side_of",
]

VERSION = 2
SPLIT_SIZES: dict[str, int] = {"train": 262_144, "val": 4_096, "test": 8_192}
CHEST_MM = 400.0  # width of a chest picture, millimetres
PATCH_UM = 250.0  # width of a pathology picture, micrometres
SEVERITIES = ("mild", "moderate", "severe")
ZONES = ("upper", "mid", "lower")


def side_of(label: str) -> str | None:
    """`left` or `right` (the patient's), or None for a label without a side."""
    first = label.partition(" ")[0]
    return first if first in SIDES else None


def kind_of(label: str) -> str:
    """The label without its side."""
    return label.partition(" ")[2] if side_of(label) else label
