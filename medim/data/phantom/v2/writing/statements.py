"""What a report says of each finding, before any word is chosen: asserted, left open, denied, or nothing.
Every label and every kind of finding draws from a stream of its own, so that removing one finding from a case leaves what is
said of the others, and how, as it was."""

from dataclasses import dataclass

import numpy as np

from medim.common.errors import UserError, unknown
from medim.data.phantom.labels import ABSENT, LABELS, LABELS_BY_DOMAIN, PRESENT, UNCERTAIN, kind_of
from medim.data.phantom.v2.cases import Case, change
from medim.data.phantom.v2.findings import Finding

STYLES = ("terse", "standard", "long")
MIXED = "mixed"
CELLULARITY = ("low cellularity", "high cellularity")
CERTAIN = frozenset({"pacemaker", "endotracheal tube"})  # a device is there or not: never left open
LIKELY = 0.5  # findings called likely or probable, as a share of those left open; they count as present
# By style: how often an absent kind is denied, and how often the change since the prior study is stated.
DENIED = {"terse": 0.12, "standard": 0.5, "long": 0.92}
COMPARED = {"terse": 0.5, "standard": 0.75, "long": 1.0}


@dataclass(frozen=True)
class Options:
    """How the reports are written and the labels given; the defaults are the frozen set.
    Raises UserError: an unknown style, or a rate out of range."""

    style: str = MIXED  # one of `STYLES`, or `mixed`: each case's is drawn
    omission: float = 0.0  # probability that a finding which is present goes unmentioned (it is not denied either)
    label_noise: float = 0.0  # probability that a label of `findings` is flipped (picture and report stay as they are)
    # probability that a mentioned finding is left open ("possible", "suspected", "cannot be excluded"); half as often again it
    # is called "likely", "probable" or "consistent with", which counts as present. Devices are certain
    uncertainty: float = 0.1
    comparison: bool = True  # whether findings are compared with the prior study, where the case has one

    def __post_init__(self) -> None:
        if self.style not in (*STYLES, MIXED):
            raise unknown("report style", self.style, (*STYLES, MIXED))
        for field, limit in (("omission", 1.0), ("label_noise", 0.5), ("uncertainty", 0.66)):
            if not 0.0 <= getattr(self, field) <= limit:
                raise UserError(f"phantom-v2: {field} {getattr(self, field)} is outside 0..{limit:g}")


class Streams:
    """Independent generators by name, all of them fixed by two numbers from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._root = [int(value) for value in rng.integers(0, 2**63, size=2)]

    def of(self, *name: str) -> np.random.Generator:
        """The generator of that name, from its beginning."""
        key = [int.from_bytes(part.encode(), "little") for part in name]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([*self._root, *key])))


@dataclass(frozen=True)
class Statement:
    """What is said of one label."""

    label: str
    state: str  # `present`, `absent` or `uncertain`
    # the finding of this visit, or, of one that is gone, of the prior one; None for a plain denial
    finding: Finding | None = None
    likely: bool = False  # whether a present finding is called likely or probable
    course: str | None = None  # `new`, `increased`, `decreased`, `unchanged` or `resolved`; None where nothing is compared
    before: Finding | None = None  # the finding at the prior visit, where its course is stated

    @property
    def kind(self) -> str:
        return kind_of(self.label)


def _present(case: Case, label: str, streams: Streams, options: Options, compare: float) -> Statement | None:
    missed, hedge, compared = streams.of("said", label).random(3)
    if missed < options.omission:
        return None
    finding = case.finding(label)
    if label not in CERTAIN:
        if hedge < options.uncertainty:
            return Statement(label, UNCERTAIN, finding)
        if hedge < (1.0 + LIKELY) * options.uncertainty:
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


def plan(case: Case, streams: Streams, style: str, options: Options) -> dict[str, Statement]:
    """What is said of each label, in the order of `LABELS`; labels not mentioned are left out.
    A level of cellularity is always stated: naming one denies the other, leaving one open says nothing of the other, and an
    omitted one says nothing of either."""
    compare = COMPARED[style] if options.comparison and case.prior is not None else 0.0
    said: dict[str, Statement] = {}
    for label in LABELS_BY_DOMAIN[case.domain]:
        if label in CELLULARITY:
            continue
        if case.has(label):
            statement = _present(case, label, streams, options, compare)
        else:
            statement = _absent(case, label, streams, style, compare)
        if statement is not None:
            said[label] = statement
    if case.cellularity is not None:
        said |= _cellularity(case, streams, options, compare)
    return {label: said[label] for label in LABELS if label in said}


def _cellularity(case: Case, streams: Streams, options: Options, compare: float) -> dict[str, Statement]:
    level = next((label for label in CELLULARITY if case.has(label)), None)
    if level is None:
        return {label: Statement(label, ABSENT) for label in CELLULARITY}
    statement = _present(case, level, streams, options, compare)
    if statement is None:
        return {}
    if statement.state == UNCERTAIN:
        return {level: statement}
    return {label: statement if label == level else Statement(label, ABSENT) for label in CELLULARITY}
