"""Reads findings from reports: exact on the phantom's grammar, tolerant of the free text that a model may write.

A report is read sentence by sentence, a sentence clause by clause. In a clause, names of findings are found; each is affirmed
or denied by the words of its clause, and given the sides and levels that stand nearest. A finding with sides that is affirmed
without one counts for neither side, in the plural for both. Where a report contradicts itself the affirmation wins.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from medim.common.declared import read_table
from medim.data.phantom.checkers import Mention, Names, ReportChecker, either
from medim.data.phantom.labels import ABSENT, LATERAL, PRESENT, SIDES

_SPACE = re.compile(r"\s+")
_OTHER = re.compile(r"[^a-z0-9&,;:' -]+")
_SENTENCE = re.compile(r"[.!?\n]+")

_WORDS = read_table(Path(__file__).with_name("lexicon.yaml"), dict[str, Any])
_NAMES = Names(_WORDS["names"])
_PLURAL = either(_WORDS["plural"], before="", after="$")
_SIDE = either(_WORDS["side"])
_SIDE_AFTER = either(_WORDS["side_after"], after=" (?:the |both )?$")  # a side after this belongs to what precedes it
_LARGE_HEART = either(_WORDS["large_heart"])
_LEVEL = either(_WORDS["level"])
_HARMLESS = either(_WORDS["harmless"], after="")
_CLAUSE = either(_WORDS["clause"], before="", after="")
_DENIES_AFTER = either(_WORDS["denies_after"])
_DENIES_BEFORE = either(_WORDS["denies_before"])


def _denied(clause: str, mention: Mention) -> bool:
    """Whether the clause denies the mention: a word of denial before it, or one that closes the clause after it."""
    before = _DENIES_AFTER.search(clause, 0, mention.start) or re.search(r"\b(?:not|cannot)\b", clause[: mention.start])
    return before is not None or _DENIES_BEFORE.search(clause, mention.end) is not None


def _sides(clause: str, mentions: list[Mention]) -> list[set[str]]:
    """The sides of each mention: those before it, or after it behind a preposition; shared along `and`, `or` and commas."""
    sides: list[set[str]] = [set() for _ in mentions]
    for match in _SIDE.finditer(clause):
        word = match.group()
        meant = {word} if word in SIDES else set(SIDES)
        before = max((i for i, mention in enumerate(mentions) if mention.end <= match.start()), default=None)
        after = min((i for i, mention in enumerate(mentions) if mention.start >= match.end()), default=None)
        owner = after if before is None else before
        if before is not None and after is not None:
            between = clause[mentions[before].end : match.start()]
            behind = _SIDE_AFTER.search(between) or re.fullmatch(r"(?: in| on| at)?(?: the)? (?:left|right) and ", between)
            owner = before if behind else after
        if owner is not None:
            sides[owner] |= meant
    # "left effusion and pneumothorax", "effusion and pneumothorax on the left": a bare one takes its neighbour's side.
    along = range(len(mentions))
    for near, bare in (*pairwise(along), *pairwise(reversed(along))):
        if not sides[bare] and mentions[near].kind in LATERAL:
            sides[bare] |= sides[near]
    return sides


def _cellularity(clause: str, mention: Mention) -> set[str]:
    """The label of the level word nearest to the mention (none for a moderate level)."""
    if mention.text.startswith("hyper"):
        return {"high cellularity"}
    if mention.text.startswith(("hypo", "pauci")):
        return {"low cellularity"}
    levels = [(min(abs(m.start() - mention.end), abs(mention.start - m.end())), m.group()) for m in _LEVEL.finditer(clause)]
    nearest = min(levels, default=(0, ""))[1]
    return {_WORDS["levels"][nearest]} if nearest in _WORDS["levels"] else set()


def statements(sentence: str) -> set[tuple[str, bool]]:
    """(label, whether it is affirmed) of what one sentence (any case, without its full stop) affirms or denies."""
    sentence = _SPACE.sub(" ", _OTHER.sub(" ", sentence.lower())).strip()
    sentence = _HARMLESS.sub(" ", sentence)
    said: set[tuple[str, bool]] = set()
    for part in _CLAUSE.split(sentence):
        clause = part.strip(" ,")
        mentions = _NAMES.find(clause)
        for mention, sides in zip(mentions, _sides(clause, mentions), strict=True):
            affirmed = not _denied(clause, mention)
            if mention.kind == "cardiomegaly":
                if "cardiomegaly" in mention.text or "enlarge" in mention.text or _LARGE_HEART.search(clause):
                    said.add(("cardiomegaly", affirmed))
            elif mention.kind == "cellularity":
                said |= {(label, affirmed) for label in _cellularity(clause, mention)}
            elif mention.kind in LATERAL:
                if not sides and (not affirmed or _PLURAL.search(mention.text)):
                    sides = set(SIDES)
                said |= {(f"{side} {mention.kind}", affirmed) for side in sides}
            else:
                said.add((mention.kind, affirmed))
    return said


def read(report: str) -> dict[str, str]:
    """What a report says: label -> `present`, or `absent` where it is denied and nowhere affirmed."""
    said = set().union(*map(statements, _SENTENCE.split(report)))
    return {label: PRESENT if (label, True) in said else ABSENT for label, _ in sorted(said)}


CHECKER = ReportChecker("phantom-report-checker", read, (PRESENT,))
