"""What is in a case: domain, patient, findings with size and contrast, the prior visit, and counterfactual twins."""

from dataclasses import dataclass, replace

import numpy as np

from medim.common.errors import UserError, unknown
from medim.data.phantom.v2.drawing.placement import evolve, propose
from medim.data.phantom.v2.findings import Finding, spec_of
from medim.data.phantom.v2.names import CHEST, DOMAINS, LABELS, LABELS_BY_DOMAIN, PATHOLOGY, SPLIT_SIZES
from medim.data.phantom.v2.prevalence import ORDER, PERSISTENCE, TREND, appears, illness
from medim.data.phantom.v2.streams import patient_stream, stream

__all__ = ["CHANGED", "Case", "Finding", "change", "patient_of", "sample_case", "twin"]

STUDIES = (1, 2, 1, 3, 1, 2, 1, 4, 1, 2)  # studies of ten consecutive patients: 8 of 18 have a prior
_FIRST = np.cumsum((0, *STUDIES))  # first study of each of them, and the block's length
CHANGED = 1.2  # factor of size (contrast for edema) from which a finding has increased, and below its inverse decreased


@dataclass(frozen=True)
class Case:
    """One study before it is drawn and reported.

    Attributes:
        patient: number of the patient within its split and domain.
        visit: 0 for the patient's first study.
        findings: what is present, in the order of `names.LABELS`.
        prior: the patient's previous visit (whose own prior is None), None at the first.
        cellularity: `low`, `moderate` or `high` (pathology), None for a chest.
    """

    split: str
    index: int
    domain: str
    patient: int
    visit: int
    findings: tuple[Finding, ...]
    prior: "Case | None" = None
    cellularity: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels present, in the order of `names.LABELS`."""
        return tuple(finding.label for finding in self.findings)

    def has(self, label: str) -> bool:
        """Whether the finding is present."""
        return self.finding(label) is not None

    def finding(self, label: str) -> Finding | None:
        """The finding of that label, or None where it is absent."""
        return next((finding for finding in self.findings if finding.label == label), None)


def patient_of(index: int) -> tuple[int, int]:
    """(patient, visit) of the case at `index`; patients are numbered per split and domain."""
    block, place = divmod(index // len(DOMAINS), int(_FIRST[-1]))
    member = int(np.searchsorted(_FIRST, place, side="right")) - 1
    return block * len(STUDIES) + member, place - int(_FIRST[member])


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

    A first visit draws its findings from `prevalence`; a later one lets those of the visit before persist, grow, shrink or
    resolve, and new ones appear.

    Raises:
        UserError: unknown split.
        IndexError: `index` outside the split.
    """
    if split not in SPLIT_SIZES:
        raise unknown("split", split, SPLIT_SIZES)
    if not 0 <= index < SPLIT_SIZES[split]:
        raise IndexError(f"phantom-v2 {split} has {SPLIT_SIZES[split]} pairs; index {index} is outside")
    domain = DOMAINS[index % len(DOMAINS)]
    patient, visit = patient_of(index)
    sickness = illness(patient_stream(split, "patient", domain, patient))
    prior = replace(sample_case(split, index - len(DOMAINS)), prior=None) if visit else None
    rng = stream(split, "case", index)
    findings: list[Finding] = []
    present: set[str] = set()
    for label in ORDER[domain]:  # later ones are told what is there already
        before = prior.finding(label) if prior else None
        if before is not None:
            trend = TREND[int(rng.choice(len(TREND), p=[share for share, _ in TREND]))][1]
            finding = evolve(before, findings, rng, trend) if rng.random() < PERSISTENCE[label] else None
        else:
            new = rng.random() < appears(label, present, sickness, first=prior is None)
            finding = propose(label, findings, rng) if new else None
        if finding is not None:
            findings.append(finding)
            present.add(label)
    return _with(Case(split, index, domain, patient, visit, (), prior), findings)


def twin(case: Case, label: str) -> Case:
    """The counterfactual: the case without the finding where it is present, with it where it is absent; nothing else changes.

    Raises:
        UserError: the label is not of the case's domain, or the picture has no room for the finding.
    """
    if label not in LABELS_BY_DOMAIN[case.domain]:
        raise unknown(f"{'chest' if case.domain == CHEST else 'pathology'} finding", label, LABELS_BY_DOMAIN[case.domain])
    others = [finding for finding in case.findings if finding.label != label]
    if case.has(label):
        return _with(case, others)
    added = propose(label, others, stream(case.split, "twin", case.index, LABELS.index(label)))
    if added is None:
        what = ", ".join(case.labels)
        raise UserError(f"phantom-v2 {case.split} {case.index}: no room for '{label}' beside {what}")
    return _with(case, [*others, added])


def change(case: Case, label: str) -> str | None:
    """How a finding compares with the prior visit; None without a prior, or where it is absent from both.

    Returns:
        `new`, `resolved`, `increased`, `decreased` or `unchanged`. The two in the middle are of findings with degrees only:
        size (of edema, contrast) has grown or shrunk by the factor `CHANGED` at least.
    """
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
