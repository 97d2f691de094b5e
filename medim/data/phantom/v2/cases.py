"""What is in a case: domain, patient, findings with size and contrast, the prior visit, and counterfactual twins."""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from medim.common.errors import UserError, unknown
from medim.data.phantom.brushes import Field, grid_noise
from medim.data.phantom.dataset import Cohort
from medim.data.phantom.labels import CHEST, DOMAINS, LABELS, LABELS_BY_DOMAIN, PATHOLOGY
from medim.data.phantom.v2.findings import TABLES, Finding, spec_of
from medim.data.phantom.v2.placement import evolve, propose

COHORT = Cohort(
    name="phantom-v2",
    version=2,
    sizes={"train": 262_144, "val": 4_096, "test": 8_192},
    studies=(1, 2, 1, 3, 1, 2, 1, 4, 1, 2),  # 8 of 18 have a prior
    purposes=("case", "patient", "build", "twin", "scene", "finding", "report", "noise", "labels"),
    digits=6,
)
CHANGED = 1.2  # factor of size (contrast for edema) from which a finding has increased, and below its inverse decreased
LATER = 0.4  # a finding that was absent appears at a later visit with this share of its first-visit probability


@dataclass(frozen=True)
class Case:
    """One study before it is drawn and reported."""

    split: str
    index: int
    domain: str
    patient: int  # number of the patient within its split and domain
    visit: int  # 0 for the patient's first study
    findings: tuple[Finding, ...]  # what is present, in the order of `LABELS`
    prior: "Case | None" = None  # the patient's previous visit (whose own prior is None), None at the first
    cellularity: str | None = None  # `low`, `moderate` or `high` (pathology), None for a chest

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(finding.label for finding in self.findings)

    def has(self, label: str) -> bool:
        return self.finding(label) is not None

    def finding(self, label: str) -> Finding | None:
        """The finding of that label, or None where it is absent."""
        return next((finding for finding in self.findings if finding.label == label), None)

    def stream(self, purpose: str, *key: int) -> np.random.Generator:
        return COHORT.stream(self.split, purpose, self.index, *key)

    def patient_stream(self, purpose: str) -> np.random.Generator:
        return COHORT.patient_stream(self.split, purpose, self.domain, self.patient)

    def finding_stream(self, label: str) -> np.random.Generator:
        """The generator of a finding's shape.
        In a chest it is the same at every visit, whatever else the patient has; another visit's patch is another biopsy."""
        owner = self.patient if self.domain == CHEST else self.index
        return COHORT.stream(self.split, "finding", DOMAINS.index(self.domain), owner, LABELS.index(label))

    def noise(self, layer: int, resolution: int, cells: tuple[int, ...]) -> Field:
        """Sum of octaves (R, R), each of unit variance; those finer than the picture are left out. `layer`: which of the case's
        noise layers: each has streams of its own. `cells`: grids from coarse to fine; those up to R are drawn."""
        total = np.zeros((resolution, resolution), np.float32)
        for size in cells:
            if size <= resolution:
                total += grid_noise(self.stream("noise", layer, size), size, resolution, Image.Resampling.BICUBIC)
        return total


def _with(case: Case, findings: list[Finding]) -> Case:
    """The case with other findings, put in order, and the cellularity that follows from them."""
    ordered = tuple(sorted(findings, key=lambda finding: LABELS.index(finding.label)))
    cellularity = None
    if case.domain == PATHOLOGY:
        present = {finding.label for finding in findings}
        cellularity = next((grade for grade in ("low", "high") if f"{grade} cellularity" in present), "moderate")
    return replace(case, findings=ordered, cellularity=cellularity)


def sample_case(split: str, index: int) -> Case:
    """The case at `index` of `split`, always the same.
    A first visit draws its findings from the odds of `findings.yaml`; a later one lets those of the visit before persist, grow,
    shrink or resolve, and new ones appear. Raises as `Cohort.locate`."""
    domain, patient, visit = COHORT.locate(split, index)
    illness = float(COHORT.patient_stream(split, "patient", domain, patient).standard_normal())
    prior = replace(sample_case(split, index - len(DOMAINS)), prior=None) if visit else None
    rng = COHORT.stream(split, "case", index)
    findings: list[Finding] = []
    for label in TABLES.order[domain]:  # later ones depend on what is there already
        before = prior.finding(label) if prior else None
        if before is not None:
            trend = TABLES.trend[int(rng.choice(len(TABLES.trend), p=[share for share, _ in TABLES.trend]))][1]
            finding = evolve(before, findings, rng, trend) if rng.random() < TABLES.persistence[label] else None
        else:
            new = rng.random() < appears(label, [other.label for other in findings], illness, first=prior is None)
            finding = propose(label, findings, rng) if new else None
        if finding is not None:
            findings.append(finding)
    return _with(Case(split, index, domain, patient, visit, (), prior), findings)


def appears(label: str, present: Collection[str], illness: float, first: bool) -> float:
    """Probability of a finding, given those drawn before it and the patient's illness. `illness`: standard normal, shared by a
    patient's visits. `first`: whether it is the first visit."""
    odds = TABLES.odds[label]
    raised = sum(added for other, added in odds.raised.items() if other in present)
    probability = 1.0 / (1.0 + math.exp(-(odds.rest + odds.illness * illness + raised)))
    return probability if first else LATER * probability


def twin(case: Case, label: str) -> Case:
    """The counterfactual: the case without the finding where it is present, with it where it is absent; nothing else changes.
    Raises UserError: the label is not of the case's domain, or the picture has no room for the finding."""
    if label not in LABELS_BY_DOMAIN[case.domain]:
        raise unknown(f"{'chest' if case.domain == CHEST else 'pathology'} finding", label, LABELS_BY_DOMAIN[case.domain])
    others = [finding for finding in case.findings if finding.label != label]
    if case.has(label):
        return _with(case, others)
    added = propose(label, others, case.stream("twin", LABELS.index(label)))
    if added is None:
        what = ", ".join(case.labels)
        raise UserError(f"phantom-v2 {case.split} {case.index}: no room for '{label}' beside {what}")
    return _with(case, [*others, added])


def change(case: Case, label: str) -> str | None:
    """How a finding compares with the prior visit; None without a prior, or where it is absent from both.
    Returns `new`, `resolved`, `increased`, `decreased` or `unchanged`. The two in the middle are of findings with degrees only:
    size (of edema, contrast) has grown or shrunk by the factor `CHANGED` at least."""
    if case.prior is None:
        return None
    now, before = case.finding(label), case.prior.finding(label)
    if now is None or before is None:
        return "new" if now else "resolved" if before else None
    graded_by = spec_of(label).graded_by
    if graded_by is None:
        return "unchanged"
    ratio = now.size / before.size if graded_by == "size" else now.contrast / before.contrast
    return "increased" if ratio >= CHANGED else "decreased" if ratio <= 1.0 / CHANGED else "unchanged"
