"""What long reports are read for, by sentence: contradictions, repetition, findings by where they are stated, length."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tasks.metrics.statistics.additive import combiner

QUARTERS = ("first", "second", "third", "last")
PRESENT, ABSENT = "present", "absent"
_STOP = re.compile(r"(?<=[.!?])(?<!\s\d\.)\s+|\n+")  # not between an item's number and its text
_HEADING = re.compile(r"^(?:[A-Za-z][A-Za-z ]{2,30}:\s*)+")
_NUMBER = re.compile(r"^\d+[.)]\s*")


@runtime_checkable
class ReadsStatements(Protocol):
    """A report checker that tells what a text denies as well as what it asserts."""

    def read(self, report: str) -> Mapping[str, str]:
        """Label -> `present`, `absent`, `uncertain`, ... for each label that the text speaks of."""


def sentences_of(report: str) -> list[str]:
    """Sentences in order, with their headings and item numbers; what holds no letter is none."""
    return [part.strip() for part in _STOP.split(report) if re.search(r"[A-Za-z]", part)]


def bare(sentence: str) -> str:
    """A sentence as it is held against others: no heading, item number, case or spacing."""
    return " ".join(_NUMBER.sub("", _HEADING.sub("", sentence)).lower().split()).rstrip(".!? ")


def quarter(place: int, count: int) -> int:
    """Quarter (0 to 3) of a report of `count` sentences in which its sentence number `place` (0-based) begins."""
    return 4 * place // count


def repeated_sentences(report: str) -> tuple[int, int]:
    """Sentences that an earlier one of the same report equals, and all sentences."""
    said = [text for text in map(bare, sentences_of(report)) if text]
    return len(said) - len(set(said)), len(said)


def contradicted(states: Sequence[Mapping[str, str]]) -> frozenset[str]:
    """Labels that one sentence of a report asserts and another denies.
    `states`: what each sentence says (`ReadsStatements.read`)."""
    asserted, denied = (
        {label for said in states for label, state in said.items() if state == wanted} for wanted in (PRESENT, ABSENT)
    )
    return frozenset(asserted & denied)


def stated_by_quarter(found: Sequence[frozenset[str]]) -> tuple[frozenset[str], ...]:
    """The labels that each quarter of a report tells of; `found`: those of each of its sentences."""
    quarters: list[set[str]] = [set() for _ in QUARTERS]
    for place, labels in enumerate(found):
        quarters[quarter(place, len(found))] |= labels
    return tuple(map(frozenset, quarters))


def quarter_counts(shown: frozenset[str], reference: Sequence[frozenset[str]], ours: Sequence[frozenset[str]]) -> np.ndarray:
    """True positives, false positives and false negatives of each quarter, (4, 3). A label stated in quarter k counts there as
    right or wrong by what the case shows; one that the reference states in its quarter k, and that the report tells nowhere, is
    missed there. `shown`: labels of the case. `reference`, `ours`: labels of each sentence."""
    anywhere = frozenset().union(*ours)
    counts = np.zeros((len(QUARTERS), 3))
    for row, (wanted, stated) in enumerate(zip(stated_by_quarter(reference), stated_by_quarter(ours), strict=True)):
        counts[row] = len(stated & shown), len(stated - shown), len((wanted & shown) - anywhere)
    return counts


def length_moments(lengths: np.ndarray) -> np.ndarray:
    """Sums behind a correlation of lengths (N, 2), ours and the reference's: 1, x, y, xx, yy, xy; (N, 6)."""
    x, y = lengths[:, 0], lengths[:, 1]
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


@combiner("length-correlation", bounds=(-1, 1))
def correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson's r of sums (R, 6) of `length_moments`; (R,), NaN where either length does not vary."""
    n, x, y, xx, yy, xy = sums.T
    spread = np.clip(xx - x * x / n, 0, None) * np.clip(yy - y * y / n, 0, None)
    varies = spread > 1e-9 * np.maximum(xx * yy, 1.0)
    return np.divide(xy - x * y / n, np.sqrt(np.where(varies, spread, 1.0)), out=np.full(len(n), np.nan), where=varies)
