"""What the findings of the phantoms are called, and in which domain each occurs."""

from pathlib import Path

from medim.common.declared import read_table

CHEST = "chest-xray"
PATHOLOGY = "pathology"
DOMAINS = (CHEST, PATHOLOGY)  # the domain of index i is DOMAINS[i % 2], so every prefix is balanced
SIDES = ("left", "right")  # the patient's; the patient's left is on the image's right
LATERAL = ("consolidation", "nodule", "effusion", "pneumothorax")  # findings with a side

LABELS_BY_DOMAIN = read_table(Path(__file__).with_name("labels.yaml"), dict[str, tuple[str, ...]])
LABELS: tuple[str, ...] = LABELS_BY_DOMAIN[CHEST] + LABELS_BY_DOMAIN[PATHOLOGY]

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"  # what a report says of a label


def side_of(label: str) -> str | None:
    """`left` or `right`, or None for a label without a side."""
    first = label.partition(" ")[0]
    return first if first in SIDES else None


def kind_of(label: str) -> str:
    """The label without its side."""
    return label.partition(" ")[2] if side_of(label) else label
