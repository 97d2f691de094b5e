"""Reads findings from reports of phantom version 2: exact on its grammar, tolerant of the free text that a model may write."""

from collections.abc import Sequence

from medim.common.errors import unknown
from medim.common.files import hash_of
from medim.data.phantom.v2.names import LABELS
from medim.data.phantom.v2.reading.sentences import heavier, read_sentence, sentences
from medim.data.phantom.v2.reading.statements import ABSENT, PRESENT, UNCERTAIN

_READING = 1  # raise when the rules change: part of the fingerprint
POLICIES = (PRESENT, ABSENT)


def read(report: str) -> dict[str, str]:
    """What a report says: for each label that it speaks of, `present`, `absent` or `uncertain`, in the order of `LABELS`.

    The rules are those of `report_reading`. An empty report, or one without the name of a finding, says nothing.
    """
    said: dict[str, str] = {}
    for sentence in sentences(report):
        for label, state in read_sentence(sentence):
            said[label] = heavier(said.get(label), state)
    return {label: said[label] for label in LABELS if label in said}


class PhantomV2ReportChecker:
    """Report -> labels that it asserts.

    Args:
        uncertain: how findings that a report leaves open count: `present` (a report leaves open only what is in the picture) or
            `absent`.

    Raises:
        UserError: unknown policy.
    """

    labels = LABELS

    def __init__(self, uncertain: str = PRESENT) -> None:
        if uncertain not in POLICIES:
            raise unknown("policy for uncertain findings", uncertain, POLICIES)
        self.name = f"phantom-v2-report-checker[uncertain={uncertain}]"
        self.fingerprint = hash_of([self.name, _READING, LABELS])
        self._asserted = {PRESENT, UNCERTAIN} if uncertain == PRESENT else {PRESENT}

    def read(self, report: str) -> dict[str, str]:
        """What one report says: label -> `present`, `absent` or `uncertain`."""
        return read(report)

    def __call__(self, reports: Sequence[str]) -> list[frozenset[str]]:
        """The labels that each report asserts; an empty report asserts none."""
        return [frozenset(label for label, state in read(report).items() if state in self._asserted) for report in reports]
