"""What is in a case: domain, patient, findings and their attributes, drawn so that no finding hides another."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from medim.data.phantom.dataset import Cohort
from medim.data.phantom.labels import CHEST, LABELS_BY_DOMAIN, SIDES

COHORT = Cohort(
    name="phantom",
    version=1,
    sizes={"train": 49_152, "val": 1_024, "test": 2_048},
    studies=(1, 1, 2, 1, 1, 3, 1, 1, 2, 1),  # 30 % of the patients come more than once
    purposes=("build", "case", "picture", "report"),
    digits=5,
)
MAX_FINDINGS = 4


@dataclass(frozen=True)
class Case:
    """One study before it is drawn and reported."""

    split: str
    index: int
    domain: str
    patient: int  # number of the patient within its split and domain
    visit: int  # 0 for the patient's first study
    labels: tuple[str, ...]  # what is present, in the order of `LABELS_BY_DOMAIN`
    # per finding what else is said of it: `small` or `large` (effusion, nodule), `upper` or `lower` (consolidation), a count
    # (`glands`, `lymphocytic infiltrate`); `cellularity` is always `low`, `moderate` or `high`
    attributes: Mapping[str, str]

    def has(self, label: str) -> bool:
        return label in self.labels


def sample_case(split: str, index: int) -> Case:
    """The case at `index` of `split`, always the same. Raises as `Cohort.locate`."""
    domain, patient, visit = COHORT.locate(split, index)
    rng = COHORT.stream(split, "case", index)
    propose, allowed = (_propose_chest, _chest_allowed) if domain == CHEST else (_propose_pathology, _pathology_allowed)
    while True:
        present, attributes = propose(rng)
        if len(present) <= MAX_FINDINGS and allowed(present, attributes):
            break
    labels = tuple(label for label in LABELS_BY_DOMAIN[domain] if label in present)
    return Case(split, index, domain, patient, visit, labels, MappingProxyType(attributes))


def _sides(rng: np.random.Generator, one: float, both: float) -> tuple[str, ...]:
    """No side, one side (probability `one` each) or both sides (probability `both`)."""
    u = rng.random()
    if u < both:
        return SIDES
    if u < both + one:
        return ("left",)
    if u < both + 2 * one:
        return ("right",)
    return ()


def _graded(
    rng: np.random.Generator, attributes: dict[str, str], finding: str, grades: tuple[str, str], one: float, both: float
) -> None:
    """Adds a lateralised finding with one of two grades a side; both sides agree three times in four."""
    sides = _sides(rng, one, both)
    grade = int(rng.integers(2))
    for place, side in enumerate(sides):
        flip = place == 1 and rng.random() < 0.25
        attributes[f"{side} {finding}"] = grades[grade ^ int(flip)]


def _propose_chest(rng: np.random.Generator) -> tuple[set[str], dict[str, str]]:
    attributes: dict[str, str] = {}
    # Rates before rejection: set so that each label ends near 15 % of the chest cases.
    _graded(rng, attributes, "effusion", ("small", "large"), one=0.13, both=0.07)
    _graded(rng, attributes, "consolidation", ("upper", "lower"), one=0.19, both=0.06)
    _graded(rng, attributes, "nodule", ("small", "large"), one=0.17, both=0.04)
    present = set(attributes)
    present |= {f"{side} pneumothorax" for side in _sides(rng, one=0.17, both=0.0)}
    rates = (("cardiomegaly", 0.16), ("pulmonary edema", 0.27), ("pacemaker", 0.15), ("endotracheal tube", 0.15))
    present |= {label for label, rate in rates if rng.random() < rate}
    return present, attributes


def _chest_allowed(present: set[str], attributes: Mapping[str, str]) -> bool:
    """False where one finding would hide or imitate another."""
    edema = "pulmonary edema" in present
    for side in SIDES:
        effusion = attributes.get(f"{side} effusion")
        consolidation = attributes.get(f"{side} consolidation")
        nodule = f"{side} nodule" in present
        pneumothorax = f"{side} pneumothorax" in present
        if consolidation == "lower" and effusion is not None:
            return False
        if consolidation == "upper" and effusion == "large":
            return False
        if effusion == "large" and (nodule or pneumothorax or edema):
            return False
        if consolidation is not None and (nodule or edema or pneumothorax):
            return False
        if nodule and (pneumothorax or edema):
            return False
    left = attributes.get("left consolidation")
    if left == "upper" and "pacemaker" in present:
        return False
    return not (left == "lower" and "cardiomegaly" in present)


def _propose_pathology(rng: np.random.Generator) -> tuple[set[str], dict[str, str]]:
    u = rng.random()
    density = "low" if u < 0.28 else "high" if u < 0.56 else "moderate"
    attributes = {"cellularity": density}
    present = set() if density == "moderate" else {f"{density} cellularity"}
    rates = (("glands", 0.29), ("lymphocytic infiltrate", 0.25), ("necrosis", 0.26), ("pigment", 0.22))
    present |= {label for label, rate in rates if rng.random() < rate}
    if "glands" in present:
        attributes["glands"] = str(int(rng.integers(1, 4)))
    if "lymphocytic infiltrate" in present:
        attributes["lymphocytic infiltrate"] = str(int(rng.integers(1, 3)))
    return present, attributes


def _pathology_allowed(present: set[str], attributes: Mapping[str, str]) -> bool:
    """False where the patch has no room for every region with tissue left between them."""
    regions = len(present - {"low cellularity", "high cellularity"})
    if regions > 3:
        return False
    glands = int(attributes.get("glands", "0"))
    if "necrosis" in present:
        return glands + int(attributes.get("lymphocytic infiltrate", "0")) <= 2
    return not (glands == 3 and regions > 2)
