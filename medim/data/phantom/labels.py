"""What the findings of the phantoms are called, and in which domain each occurs."""

CHEST = "chest-xray"
PATHOLOGY = "pathology"
DOMAINS = (CHEST, PATHOLOGY)  # the domain of index i is DOMAINS[i % 2], so every prefix is balanced
SIDES = ("left", "right")  # the patient's; the patient's left is on the image's right
LATERAL = ("consolidation", "nodule", "effusion", "pneumothorax")  # findings with a side

LABELS_BY_DOMAIN: dict[str, tuple[str, ...]] = {
    CHEST: (
        "cardiomegaly",
        "left effusion",
        "right effusion",
        "left pneumothorax",
        "right pneumothorax",
        "left consolidation",
        "right consolidation",
        "left nodule",
        "right nodule",
        "pulmonary edema",
        "pacemaker",
        "endotracheal tube",
    ),
    PATHOLOGY: ("low cellularity", "high cellularity", "glands", "lymphocytic infiltrate", "necrosis", "pigment"),
}
LABELS: tuple[str, ...] = LABELS_BY_DOMAIN[CHEST] + LABELS_BY_DOMAIN[PATHOLOGY]

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"  # what a report says of a label


def side_of(label: str) -> str | None:
    """`left` or `right`, or None for a label without a side."""
    first = label.partition(" ")[0]
    return first if first in SIDES else None


def kind_of(label: str) -> str:
    """The label without its side."""
    return label.partition(" ")[2] if side_of(label) else label
