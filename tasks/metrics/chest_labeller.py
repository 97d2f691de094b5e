"""Rule-based chest labels v1 (not CheXbert): the 14 labels of CheXpert, read from any chest X-ray report by rules.

A report is read clause by clause. A word of denial or doubt governs the observations after it up to the clause's end, a closing
one ("is not seen", "cannot be excluded") those before it. Of several statements on one label a positive one outweighs an
uncertain one, and that a negative one. `No Finding` is positive where a report names no observation but support devices as
positive or uncertain. It runs anywhere, and is a stand-in: published clinical F1 rests on the labels of CheXbert.

Agreement with the CheXpert labels that come with 2,465 Indiana University reports, F1 with uncertain as positive, on the half
of the patients (1,279 reports) on which no rule was tuned: atelectasis 0.98, lung opacity 0.94, lung lesion 0.93, pneumonia
0.89, pleural effusion 0.87, fracture 0.85, pleural other 0.77, no finding 0.72, edema 0.67, support devices 0.67, cardiomegaly
0.60, pneumothorax 0.60, consolidation 0.59, enlarged cardiomediastinum 0.12; micro 0.74, macro 0.73 (on the half used for
tuning 0.76 and 0.74). Where the two differ most, the given labels err: "heart size within normal limits" stands there as
cardiomegaly and as an enlarged cardiomediastinum, "no pleural effusions or pneumothorax" as a pneumothorax.
"""

import hashlib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from tasks.metrics import chest_terms as terms
from tasks.metrics.chest_labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN, as_findings

NAME = "rule-based chest labels v1 (not CheXbert)"
NO_FINDING, DEVICES = "No Finding", "Support Devices"
_WEIGHT = {BLANK: 0, NEGATIVE: 1, UNCERTAIN: 2, POSITIVE: 3}

_MENTIONS = {label: re.compile(rf"\b(?:{pattern})") for label, pattern in terms.MENTIONS.items()}
_NORMAL = {label: re.compile(rf"\b(?:{pattern})") for label, pattern in terms.NORMAL.items()}
_NORMALITY = re.compile(terms.NORMALITY)
_DENIALS, _DENIALS_AFTER = re.compile(terms.DENIALS), re.compile(terms.DENIALS_AFTER)
_DOUBTS, _DOUBTS_AFTER = re.compile(terms.DOUBTS), re.compile(terms.DOUBTS_AFTER)
_DOUBTFUL_DENIALS, _NOT_DENIALS = re.compile(terms.DOUBTFUL_DENIALS), re.compile(terms.NOT_DENIALS)
_CLAUSE_ENDS = re.compile(terms.CLAUSE_ENDS)
_BLANKED = re.compile(r"\bx{2,}\b|_{2,}|\[[^\]]*\]")  # what de-identification leaves
_SENTENCE = re.compile(r"(?<!\d)\.|\.(?!\d)|[;!?\n]")
_DENIED_INSIDE = re.compile(r"\b(?:not|no)\b")
_OR = re.compile(r"^[\s,]*(?:and/)?or(?: \w+)?\s*$")


@dataclass
class _Mention:
    label: str
    start: int
    end: int
    code: int = POSITIVE


class ChestLabeller:
    """Reads labels from reports; also a `medim.data.dataset.Checker`, under the policy that uncertain counts as present."""

    name = NAME
    labels = LABELS

    @property
    def fingerprint(self) -> str:
        """Hash of the terms and rules."""
        return _fingerprint()

    def codes(self, reports: Sequence[str | None]) -> np.ndarray:
        """Codes of each report: int8 (N, 14), in the order of `LABELS`; a missing or blank one has none, not `No Finding`."""
        return np.array([_codes(report or "") for report in reports], dtype=np.int8).reshape(-1, len(LABELS))

    def __call__(self, items: Sequence[str]) -> list[frozenset[str]]:
        """The labels that count as present, uncertain ones among them."""
        return as_findings(self.codes(items))


@lru_cache(maxsize=1)
def _fingerprint() -> str:
    import sys

    source = inspect.getsource(terms) + inspect.getsource(sys.modules[__name__])
    return hashlib.sha256(source.encode()).hexdigest()[:16]


@lru_cache(maxsize=1 << 15)
def _codes(report: str) -> tuple[int, ...]:
    found = dict.fromkeys(LABELS, BLANK)
    for clause in _clauses(report):
        for mention in _read(clause):
            found[mention.label] = max(found[mention.label], mention.code, key=_WEIGHT.__getitem__)
    seen = [code for label, code in found.items() if label not in {NO_FINDING, DEVICES}]
    if report.strip() and not {POSITIVE, UNCERTAIN} & set(seen):
        found[NO_FINDING] = POSITIVE
    return tuple(found[label] for label in LABELS)


def _clauses(report: str) -> Iterator[str]:
    text = _BLANKED.sub(" ", report.lower())
    for sentence in _SENTENCE.split(text):
        sentence = " ".join(sentence.split())
        cuts = [0, *(match.start() for match in _CLAUSE_ENDS.finditer(sentence)), len(sentence)]
        for start, end in pairwise(cuts):
            if sentence[start:end].strip(" ,"):
                yield sentence[start:end]


def _read(clause: str) -> list[_Mention]:
    mentions = sorted(
        (_Mention(label, m.start(), m.end()) for label, pattern in _MENTIONS.items() for m in pattern.finditer(clause)),
        key=lambda mention: mention.start,
    )
    doubtful = list(_DOUBTFUL_DENIALS.finditer(clause))
    hidden = [(m.start(), m.end()) for m in [*doubtful, *_NOT_DENIALS.finditer(clause)]]
    denied_before = [m.start() for m in _DENIALS_AFTER.finditer(clause) if not any(a <= m.start() < b for a, b in hidden)]
    hidden += [(m.start(), m.end()) for m in _DENIALS_AFTER.finditer(clause)]
    denials = [m.start() for m in _DENIALS.finditer(clause) if not any(a <= m.start() < b for a, b in hidden)]
    doubts = [m.start() for m in (*_DOUBTS.finditer(clause), *doubtful)]
    doubts_before = [m.start() for m in (*_DOUBTS_AFTER.finditer(clause), *doubtful)]
    for mention in mentions:
        inside = clause[mention.start : mention.end]
        before = any(place < mention.start for place in denials)
        if _left_open(mention, mentions, doubtful):
            mention.code = UNCERTAIN
        elif before or _DENIED_INSIDE.search(inside) or any(place >= mention.end for place in denied_before):
            mention.code = NEGATIVE
        elif any(place < mention.start for place in doubts) or any(place >= mention.end for place in doubts_before):
            mention.code = UNCERTAIN
    _join_alternatives(clause, mentions)
    return mentions + _called_normal(clause, mentions)


def _left_open(mention: _Mention, mentions: Sequence[_Mention], doubtful: Sequence[re.Match[str]]) -> bool:
    """Whether "cannot be excluded" has the last word on it: it is the last observation before that."""
    for match in doubtful:
        earlier = [other for other in mentions if other.end <= match.start()]
        if earlier and earlier[-1] is mention:
            return True
    return False


def _join_alternatives(clause: str, mentions: Sequence[_Mention]) -> None:
    """Leaves both open in "X or Y" of two observations of different labels that are not denied."""
    for first, second in pairwise(mentions):
        between = clause[first.end : second.start]
        open_pair = POSITIVE in {first.code, second.code} and NEGATIVE not in {first.code, second.code}
        if open_pair and first.label != second.label and _OR.match(between):
            first.code = second.code = UNCERTAIN


def _called_normal(clause: str, mentions: Sequence[_Mention]) -> list[_Mention]:
    if not _NORMALITY.search(clause):
        return []
    named = {mention.label for mention in mentions}
    return [
        _Mention(label, match.start(), match.end(), NEGATIVE)
        for label, pattern in _NORMAL.items()
        if label not in named and (match := pattern.search(clause))
    ]
