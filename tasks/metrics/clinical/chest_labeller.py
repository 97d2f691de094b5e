"""Rule-based chest labels v2 (not CheXbert): the 14 labels of CheXpert, read from any chest X-ray report by rules.

A report is read statement by statement (`chest_text`, `statements`). A word of denial or doubt governs the observations after
it up to the statement's end, a closing one ("is not seen", "cannot be excluded") those before it. Of several statements on one
label a positive one outweighs an uncertain one, and that a negative one. `No Finding` is positive where a report names no
observation but support devices as positive or uncertain. It needs no weights; published clinical F1 rests on CheXbert.

Accuracy: `medim-bench selftest --labels`; figures in `selftest/labelling`. Agreement with the CheXpert labels of the Indiana
reports is low where those labels err: "heart size within normal limits" stands there as cardiomegaly.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from tasks.metrics.clinical import chest_text, statements
from tasks.metrics.clinical.chest_labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN, as_findings
from tasks.metrics.clinical.terms import either, read_terms, rules_hash

NAME = "rule-based chest labels v2 (not CheXbert)"
NO_FINDING, DEVICES = "No Finding", "Support Devices"
_WEIGHT = {BLANK: 0, NEGATIVE: 1, UNCERTAIN: 2, POSITIVE: 3}

_TERMS = read_terms("chest_terms")


def _any(alternatives: Sequence[str]) -> str:
    """One expression for all of them, with <name> replaced by that part of the term list."""
    pattern = either(alternatives)
    for name, part in _TERMS["parts"].items():
        pattern = pattern.replace(f"<{name}>", part)
    return pattern


def _words(name: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_any(_TERMS[name])})\b")


def _by_label(name: str) -> dict[str, re.Pattern[str]]:
    return {label: re.compile(rf"\b(?:{_any(terms)})") for label, terms in _TERMS[name].items()}


_MENTIONS, _NORMAL = _by_label("mentions"), _by_label("normal")
_STEMS: dict[str, list[str]] = _TERMS["stems"]
_DEVICE_FIRST = re.compile(rf"(?:[\w-]+ ){{0,2}}?(?:{_any(_TERMS['mentions'][DEVICES])})")
_NORMAL_AFTER, _NORMAL_BEFORE = re.compile(_TERMS["normal_after"]), re.compile(_TERMS["normal_before"])
_NORMALITY, _CLAUSE_ENDS = _words("normality"), _words("clause_ends")
_DENIALS, _DENIALS_AFTER = _words("denials"), _words("denials_after")
_DOUBTS, _DOUBTS_AFTER = _words("doubts"), _words("doubts_after")
_DOUBTFUL_DENIALS, _NOT_DENIALS = (re.compile(_any(_TERMS[name])) for name in ("doubtful_denials", "not_denials"))
_ANYTHING = re.compile(either(stem for stems in _STEMS.values() for stem in stems))
_DENIED_INSIDE = re.compile(r"\b(?:not|no)\b")
_OR = re.compile(r"^[\s,]*(?:and/)?or(?: \w+)?\s*$")


@dataclass
class _Mention:
    label: str
    start: int
    end: int
    code: int = POSITIVE


class ChestLabeller:
    """Reads labels from reports; as a `medim.data.dataset.Checker` it counts uncertain labels as present."""

    name = NAME
    labels = LABELS

    @property
    def fingerprint(self) -> str:
        """Hash of the terms and rules."""
        return _fingerprint()

    def codes(self, reports: Sequence[str | None]) -> np.ndarray:
        """Codes int8 (N, 14) in the order of `LABELS`; a missing or blank report has none, not even `No Finding`."""
        return np.array([_codes(report or "") for report in reports], dtype=np.int8).reshape(-1, len(LABELS))

    def __call__(self, items: Sequence[str]) -> list[frozenset[str]]:
        """The labels that count as present, uncertain ones among them."""
        return as_findings(self.codes(items))


@lru_cache(maxsize=1)
def _fingerprint() -> str:
    return rules_hash((chest_text, statements, sys.modules[__name__]), ("chest_terms", "statement_words"))


@lru_cache(maxsize=1 << 15)
def _codes(report: str) -> tuple[int, ...]:
    found = dict.fromkeys(LABELS, BLANK)
    said = chest_text.sentences(report)
    for sentence in said or ():
        for label, code in _labels(sentence):
            found[label] = max(found[label], code, key=_WEIGHT.__getitem__)
    seen = [code for label, code in found.items() if label not in {NO_FINDING, DEVICES}]
    if said is not None and not {POSITIVE, UNCERTAIN} & set(seen):
        found[NO_FINDING] = POSITIVE
    return tuple(found[label] for label in LABELS)


@lru_cache(maxsize=1 << 15)
def _labels(sentence: str) -> tuple[tuple[str, int], ...]:
    """Labels and codes of one sentence."""
    plain = chest_text.plain(sentence)
    if not _ANYTHING.search(plain):
        return ()
    cuts = [0, *(match.start() for match in _CLAUSE_ENDS.finditer(plain)), len(plain)]
    parts = (part for start, end in pairwise(cuts) for part in statements.statements(plain[start:end], _DEVICE_FIRST))
    found: list[_Mention] = []
    for part in parts:
        mentions = _read(part.strip(" ,"))
        if not mentions and found and _DOUBTFUL_DENIALS.search(part):
            found[-1].code = UNCERTAIN  # "no effusion, although a small one cannot be excluded"
        found += mentions
    return tuple((mention.label, mention.code) for mention in found)


def _read(clause: str) -> list[_Mention]:
    mentions = [
        _Mention(label, m.start(), m.end())
        for label, pattern in _MENTIONS.items()
        if _holds_one(clause, _STEMS[label])
        for m in pattern.finditer(clause)
    ]
    if not mentions:
        return _called_normal(clause, mentions)
    mentions.sort(key=lambda mention: mention.start)
    doubtful = list(_DOUBTFUL_DENIALS.finditer(clause))
    hidden = [(m.start(), m.end()) for m in [*doubtful, *_NOT_DENIALS.finditer(clause)]]
    denied_before = [m.start() for m in _DENIALS_AFTER.finditer(clause) if not any(a <= m.start() < b for a, b in hidden)]
    hidden += [(m.start(), m.end()) for m in _DENIALS_AFTER.finditer(clause) if m.start() >= mentions[0].end]
    denials = [m.end() for m in _DENIALS.finditer(clause) if not any(a <= m.start() < b for a, b in hidden)]
    doubts = [m.start() for m in (*_DOUBTS.finditer(clause), *doubtful)]
    doubts_before = [m.start() for m in (*_DOUBTS_AFTER.finditer(clause), *doubtful)]
    for mention in mentions:
        inside = clause[mention.start : mention.end]
        before = any(place <= mention.start for place in denials)
        if _left_open(mention, mentions, doubtful):
            mention.code = UNCERTAIN
        elif (
            before
            or _DENIED_INSIDE.search(inside)
            or any(place >= mention.end for place in denied_before)
            or (mention.label != DEVICES and _is_normal(clause, mention))
        ):
            mention.code = NEGATIVE
        elif (
            "borderline" in inside
            or any(place < mention.start for place in doubts)
            or any(place >= mention.end for place in doubts_before)
        ):
            mention.code = UNCERTAIN
    _join_alternatives(clause, mentions)
    return mentions + _called_normal(clause, mentions)


def _holds_one(clause: str, stems: Sequence[str]) -> bool:
    for stem in stems:  # noqa: SIM110 - any() takes twice the time, and this is most of it
        if stem in clause:
            return True
    return False


def _is_normal(clause: str, mention: _Mention) -> bool:
    """Whether what is named is called normal: "lung markings are within normal limits"."""
    before = _NORMAL_BEFORE.search(clause, 0, mention.start)
    return before is not None or _NORMAL_AFTER.match(clause, mention.end) is not None


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
