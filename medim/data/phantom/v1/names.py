"""The words and sizes that define phantom version 1: labels, domains, splits."""

VERSION = 1

CHEST = "chest-xray"
PATHOLOGY = "pathology"
DOMAINS = (CHEST, PATHOLOGY)  # the domain of index i is DOMAINS[i % 2], so every prefix is balanced

SIDES = ("left", "right")  # the patient's; the patient's left is on the image's right

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
    PATHOLOGY: (
        "low cellularity",
        "high cellularity",
        "glands",
        "lymphocytic infiltrate",
        "necrosis",
        "pigment",
    ),
}
LABELS: tuple[str, ...] = LABELS_BY_DOMAIN[CHEST] + LABELS_BY_DOMAIN[PATHOLOGY]

SPLIT_SIZES: dict[str, int] = {"train": 49_152, "val": 1_024, "test": 2_048}
MAX_FINDINGS = 4
