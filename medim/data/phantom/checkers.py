"""What the checkers of all versions share: how reports are read, and how the networks that read images are designed."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from medim.common.files import hash_of
from medim.data.phantom.labels import LABELS

READING = 1  # part of every fingerprint; raise it where the rules change


def either(alternatives: Iterable[str], before: str = r"\b", after: str = r"\b") -> re.Pattern[str]:
    """Matches one of the alternatives, earlier ones first."""
    return re.compile(f"{before}(?:{'|'.join(alternatives)}){after}")


@dataclass
class Mention:
    """One name of a finding in a clause."""

    kind: str
    text: str
    start: int
    end: int


class Names:
    """Names of findings in a text. `patterns`: kind -> regular expression without capturing groups, longer names first."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self.kinds = tuple(patterns)
        self.pattern = either(f"(?P<n{number}>{pattern})" for number, pattern in enumerate(patterns.values()))

    def find(self, text: str) -> list[Mention]:
        kinds = ((self.kinds[int(str(match.lastgroup)[1:])], match) for match in self.pattern.finditer(text))
        return [Mention(kind, match.group(), match.start(), match.end()) for kind, match in kinds]


class ReportChecker:
    """Report -> labels that it states to be present; an empty report states none. `read`: what one report says: label ->
    `present`, `absent` or `uncertain`; other labels are left out. `counted`: the states that count as present."""

    labels = LABELS

    def __init__(self, name: str, read: Callable[[str], dict[str, str]], counted: tuple[str, ...]) -> None:
        self.name, self.read, self.counted = name, read, counted
        self.fingerprint = hash_of([name, READING, LABELS])

    def __call__(self, reports: Sequence[str]) -> list[frozenset[str]]:
        return [frozenset(label for label, state in self.read(report).items() if state in self.counted) for report in reports]


@dataclass(frozen=True)
class CheckerDesign:
    """The network of a version's image checkers, and how the shipped ones are trained."""

    side: int  # of the pictures that the network reads, in pixels
    layers: tuple[tuple[int, int, int], ...]  # of each convolution the channels (in widths), kernel and stride
    resolutions: tuple[int, ...]  # at which it is trained and measured
    shift: int  # largest, of the augmentation, in pixels
    noise: tuple[float, float]  # range of the standard deviation of the augmentation's noise, below zero for none
    grey: bool  # the same noise in each channel
    # by role: `cases` (how many), `start` (the first in the training split), `epochs`, `seed`, `width`. Their cases do not
    # overlap, so that one may steer what the other scores
    recipes: dict[str, dict[str, int]]
    name: str | None = None  # as signatures call it; None: the card of each has a name
