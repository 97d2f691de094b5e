"""What a report says of each finding, before any word is chosen: asserted, left open, denied, or nothing.

Every label and every kind of finding draws from a stream of its own, so that removing one finding from a case leaves what is
said of the others, and how, as it was.
"""

from dataclasses import dataclass

import numpy as np

from medim.data.phantom.labels import ABSENT, LABELS, LABELS_BY_DOMAIN, PRESENT, UNCERTAIN, kind_of, side_of
from medim.data.phantom.v2.cases import Case, change
from medim.data.phantom.v2.findings import Finding

CELLULARITY = ("low cellularity", "high cellularity")
CERTAIN = frozenset({"pacemaker", "endotracheal tube"})  # a device is there or not: never left open
LIKELY = 0.5  # findings called likely or probable, as a share of those left open; they count as present
# By style: how often an absent kind is denied, and how often the change since the prior study is told.
DENIED = {"terse": 0.12, "standard": 0.5, "long": 0.92}
COMPARED = {"terse": 0.5, "standard": 0.75, "long": 1.0}


class Streams:
    """Independent generators by name, all of them fixed by the state of one generator.

    Args:
        rng: two numbers are drawn from it.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._root = [int(value) for value in rng.integers(0, 2**63, size=2)]

    def of(self, *name: str) -> np.random.Generator:
        """The generator of that name, from its beginning."""
        key = [int.from_bytes(part.encode(), "little") for part in name]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([*self._root, *key])))


@dataclass(frozen=True)
class Statement:
    """What is said of one label.

    Attributes:
        state: `present`, `absent` or `uncertain`.
        finding: the finding of this visit, or, of one that is gone, of the prior one; None for a plain denial.
        likely: whether a present finding is called likely or probable.
        course: `new`, `increased`, `decreased`, `unchanged` or `resolved`; None where nothing is compared.
        before: the finding at the prior visit, where its course is told.
    """

    label: str
    state: str
    finding: Finding | None = None
    likely: bool = False
    course: str | None = None
    before: Finding | None = None

    @property
    def kind(self) -> str:
        """The label without its side."""
        return kind_of(self.label)

    @property
    def side(self) -> str | None:
        """`left`, `right` or None."""
        return side_of(self.label)


def _present(case: Case, label: str, streams: Streams, rates: tuple[float, float], compare: float) -> Statement | None:
    omission, uncertainty = rates
    missed, hedge, compared = streams.of("said", label).random(3)
    if missed < omission:
        return None
    finding = case.finding(label)
    if label not in CERTAIN:
        if hedge < uncertainty:
            return Statement(label, UNCERTAIN, finding)
        if hedge < (1.0 + LIKELY) * uncertainty:
            return Statement(label, PRESENT, finding, likely=True)
    if compared < compare and (course := change(case, label)) is not None:
        return Statement(label, PRESENT, finding, course=course, before=case.prior.finding(label) if case.prior else None)
    return Statement(label, PRESENT, finding)


def _absent(case: Case, label: str, streams: Streams, style: str, compare: float) -> Statement | None:
    compared = streams.of("said", label).random(3)[2]
    if compared < compare and change(case, label) == "resolved" and case.prior is not None:
        return Statement(label, ABSENT, case.prior.finding(label), course="resolved")
    if streams.of("denied", kind_of(label)).random() < DENIED[style]:
        return Statement(label, ABSENT)
    return None


def plan(
    case: Case, streams: Streams, style: str, omission: float, uncertainty: float, comparison: bool
) -> dict[str, Statement]:
    """What is said of each label, in the order of `LABELS`; labels not mentioned are left out.

    A level of cellularity is always told: naming one denies the other, leaving one open says nothing of the other, and an
    omitted one says nothing of either.

    Args:
        omission: probability that a finding which is present is not mentioned.
        uncertainty: probability that a mentioned one is left open; `LIKELY` times that, that it is called likely. Devices
            are neither.
        comparison: whether the prior study may be compared with.
    """
    compare = COMPARED[style] if comparison and case.prior is not None else 0.0
    said: dict[str, Statement] = {}
    for label in LABELS_BY_DOMAIN[case.domain]:
        if label in CELLULARITY:
            continue
        if case.has(label):
            statement = _present(case, label, streams, (omission, uncertainty), compare)
        else:
            statement = _absent(case, label, streams, style, compare)
        if statement is not None:
            said[label] = statement
    if case.cellularity is not None:
        said |= _cellularity(case, streams, (omission, uncertainty), compare)
    return {label: said[label] for label in LABELS if label in said}


def _cellularity(case: Case, streams: Streams, rates: tuple[float, float], compare: float) -> dict[str, Statement]:
    level = next((label for label in CELLULARITY if case.has(label)), None)
    if level is None:
        return {label: Statement(label, ABSENT) for label in CELLULARITY}
    statement = _present(case, level, streams, rates, compare)
    if statement is None:
        return {}
    if statement.state == UNCERTAIN:
        return {level: statement}
    return {label: statement if label == level else Statement(label, ABSENT) for label in CELLULARITY}
