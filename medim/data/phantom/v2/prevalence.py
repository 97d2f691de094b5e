"""How often findings occur, and together: a small Bayesian network over the labels, and how they evolve between visits.

The rates are approximate, set by hand to resemble what is commonly reported of labelled hospital archives (CheXpert and
MIMIC-CXR for chest radiographs: about a third without a finding, effusion and cardiomegaly each in about a fifth to a
quarter, edema in an eighth, pneumothorax and nodules in a few percent); they were not estimated from any data. Those of
pathology are plausible, no more.
"""

import math
from collections.abc import Collection

import numpy as np

from medim.data.phantom.v2.names import CHEST, PATHOLOGY

# Findings in the order in which they are drawn; a later one depends on, and makes room for, the earlier ones.
ORDER: dict[str, tuple[str, ...]] = {
    CHEST: (
        "cardiomegaly",
        "pulmonary edema",
        "pacemaker",
        "endotracheal tube",
        "left consolidation",
        "right consolidation",
        "left nodule",
        "right nodule",
        "left pneumothorax",
        "right pneumothorax",
        "left effusion",
        "right effusion",
    ),
    PATHOLOGY: ("high cellularity", "low cellularity", "necrosis", "glands", "lymphocytic infiltrate", "pigment"),
}

# Log odds: at rest, per standard deviation of the patient's illness, and added by findings that are there already.
_ODDS: dict[str, tuple[float, float, dict[str, float]]] = {
    "cardiomegaly": (-1.6, 0.8, {}),
    "pulmonary edema": (-2.75, 1.0, {"cardiomegaly": 1.4}),
    "pacemaker": (-3.0, 0.3, {"cardiomegaly": 1.3}),
    "endotracheal tube": (-3.2, 1.5, {"pulmonary edema": 0.7}),
    "left consolidation": (-2.3, 0.6, {"endotracheal tube": 0.6}),
    "right consolidation": (-2.2, 0.6, {"endotracheal tube": 0.6, "left consolidation": 0.8}),
    "left nodule": (-2.9, 0.1, {}),
    "right nodule": (-2.9, 0.1, {"left nodule": 1.6}),
    "left pneumothorax": (-3.3, 0.4, {"endotracheal tube": 0.3}),
    "right pneumothorax": (-3.2, 0.4, {"endotracheal tube": 0.3, "left pneumothorax": -1.5}),
    "left effusion": (-2.45, 0.7, {"cardiomegaly": 0.8, "pulmonary edema": 1.0, "left consolidation": 1.0}),
    "right effusion": (
        -2.55,
        0.7,
        {"cardiomegaly": 0.7, "pulmonary edema": 0.9, "right consolidation": 1.0, "left effusion": 1.2},
    ),
    "high cellularity": (-0.9, 0.5, {}),
    "low cellularity": (-1.0, -0.4, {"high cellularity": -20.0}),
    "necrosis": (-2.0, 0.6, {"high cellularity": 0.8, "low cellularity": -0.3}),
    "glands": (-0.4, -0.2, {"necrosis": -0.5}),
    "lymphocytic infiltrate": (-1.2, 0.3, {"high cellularity": 0.4, "necrosis": 0.4}),
    "pigment": (-1.9, 0.1, {}),
}

# Probability that a finding is still there at the next visit.
PERSISTENCE: dict[str, float] = {
    "cardiomegaly": 0.96,
    "pulmonary edema": 0.6,
    "pacemaker": 1.0,
    "endotracheal tube": 0.6,
    "left consolidation": 0.65,
    "right consolidation": 0.65,
    "left nodule": 0.93,
    "right nodule": 0.93,
    "left pneumothorax": 0.6,
    "right pneumothorax": 0.6,
    "left effusion": 0.75,
    "right effusion": 0.75,
    "high cellularity": 0.85,
    "low cellularity": 0.85,
    "necrosis": 0.8,
    "glands": 0.9,
    "lymphocytic infiltrate": 0.75,
    "pigment": 0.85,
}
# (share, range of the factor on the size) of findings that persist: stable, growing, shrinking.
TREND: tuple[tuple[float, tuple[float, float]], ...] = ((0.45, (0.97, 1.03)), (0.28, (1.3, 1.9)), (0.27, (0.5, 0.75)))
_LATER = 0.4  # a finding that was absent appears at a later visit with this share of its first-visit probability


def illness(rng: np.random.Generator) -> float:
    """How ill a patient is: standard normal, shared by its visits."""
    return float(rng.standard_normal())


def appears(label: str, present: Collection[str], sickness: float, first: bool) -> float:
    """Probability of a finding, given those drawn before it and the patient's illness.

    Args:
        present: labels that are there already.
        sickness: standard deviations from `illness`.
        first: whether it is the first visit.
    """
    rest, slope, raised = _ODDS[label]
    odds = rest + slope * sickness + sum(added for other, added in raised.items() if other in present)
    probability = 1.0 / (1.0 + math.exp(-odds))
    return probability if first else _LATER * probability
