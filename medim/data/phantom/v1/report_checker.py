"""Reads findings from reports: exact on the phantom's grammar, tolerant of the free text that a model may write.

A report is read sentence by sentence, a sentence clause by clause. In a clause, names of findings are found; each is affirmed
or denied by the words of its clause, and given the sides and levels that stand nearest. A finding with sides that is affirmed
without one counts for neither side, in the plural for both. Where a report contradicts itself the affirmation wins.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medim.common.files import hash_of
from medim.data.phantom.v1.names import LABELS, SIDES

_READING = 1  # raise when the rules change: part of the fingerprint

# Names of findings, as regular expressions over a clause; longer names first.
_NAMES: tuple[tuple[str, str], ...] = (
    (
        "cardiomegaly",
        r"cardiomegaly|cardiac enlargement|enlarge(?:d|ment of the) (?:heart|cardiac silhouette)|(?:heart|cardiac)\b",
    ),
    ("endotracheal tube", r"endotracheal tubes?|endotracheal|et tube|ett|intubated"),
    ("pacemaker", r"pacemakers?|pacing device"),
    ("pulmonary edema", r"(?:pulmonary )?o?edema|perihilar (?:haze|opacity|opacities)"),
    ("effusion", r"effusions?"),
    ("pneumothorax", r"pneumothora(?:x|xes|ces)|hydropneumothorax"),
    ("consolidation", r"consolidations?|consolidated|airspace (?:opacity|opacities|disease)|pneumonia"),
    ("nodule", r"nodules?|nodular (?:opacity|opacities)"),
    (
        "cellularity",
        r"(?P<low>hypocellular(?:ity)?|paucicellular)|(?P<high>hypercellular(?:ity)?)|cellularity|cellular|cell density",
    ),
    ("glands", r"glands?|glandular"),
    ("lymphocytic infiltrate", r"lymphocytic infiltrat(?:es?|ion)|lymphocyt(?:es?|ic)|lymphoid"),
    ("necrosis", r"necrosis|necrotic"),
    ("pigment", r"pigment(?:ed|ation)?(?: granules)?"),
)
_NAME = re.compile(r"\b(?:" + "|".join(f"(?P<n{i}>{pattern})" for i, (_, pattern) in enumerate(_NAMES)) + r")\b")
_LATERAL = frozenset({"effusion", "pneumothorax", "consolidation", "nodule"})
_PLURAL = re.compile(r"(?:effusions|pneumothoraxes|pneumothoraces|consolidations|opacities|nodules)$")

_SIDE = re.compile(r"\b(?:left|right|bilateral(?:ly)?|both|bibasal|bibasilar)\b")
_SIDE_AFTER = re.compile(r"\b(?:on|in|at|of|within|to) (?:the |both )?$")  # a side after this belongs to what precedes it
_LARGE_HEART = re.compile(r"\b(?:enlarged|enlargement|large|big|increased)\b")
_LEVEL = re.compile(r"\b(?:low|sparse(?:ly)?|high|dense(?:ly)?|moderate(?:ly)?|normal|average|increased|reduced|decreased)\b")
_LEVELS = {
    **dict.fromkeys(("low", "sparse", "sparsely", "reduced", "decreased"), "low cellularity"),
    **dict.fromkeys(("high", "dense", "densely", "increased"), "high cellularity"),
}

_HARMLESS = re.compile(  # phrases whose denial or side says nothing of a finding
    r"\b(?:no (?:significant |interval )?(?:change|increase|decrease) (?:in|of)|not only|not clear)\b"
    r"|\b(?:left|right|both) (?:lungs?|hemithorax|side) (?:is|are|remains?)(?: otherwise)?"
    r" (?:clear|normal|unremarkable)\b(?! of)"
)
# Words that open a clause of their own: what denies before them does not reach past them.
_CLAUSE = re.compile(
    r";|:|\b(?:but|however|although|though|except(?: for)?|while|whereas|yet|apart from|aside from|otherwise)\b"
    r"|(?:,|\band\b|\bwith\b)(?: (?:and|with))? (?=(?:an?|there|the|one|two|three|several|multiple) )"
    r"|, (?=no\b)|\band (?=no\b)"
)
_DENIES_AFTER = re.compile(
    r"\b(?:no|without|absence of|absent|free (?:of|from)|negative for|lacks?|lacking|neither|nor|never|clear of|resolution of"
    r"|resolved|ruled out)\b"
)
_DENIES_BEFORE = re.compile(r"\b(?:absent|resolved|ruled out|excluded|not|cannot|has cleared|no longer|removed)\b")
_SENTENCE = re.compile(r"[.!?\n]+")
_SPACE = re.compile(r"\s+")
_OTHER = re.compile(r"[^a-z0-9&,;:' -]+")


@dataclass(frozen=True)
class _Mention:
    finding: str
    text: str
    start: int
    end: int


def _mentions(clause: str) -> list[_Mention]:
    found = []
    for match in _NAME.finditer(clause):
        number = next(i for i in range(len(_NAMES)) if match.group(f"n{i}") is not None)
        found.append(_Mention(_NAMES[number][0], match.group(), match.start(), match.end()))
    return found


def _denied(clause: str, mention: _Mention) -> bool:
    """Whether the clause denies the mention: a word of denial before it, or one that closes the clause after it."""
    if _DENIES_AFTER.search(clause, 0, mention.start):
        return True
    if re.search(r"\b(?:not|cannot)\b", clause[: mention.start]):
        return True
    return _DENIES_BEFORE.search(clause, mention.end) is not None


def _sides(clause: str, mentions: list[_Mention]) -> list[set[str]]:
    """The sides of each mention: those before it, or after it behind a preposition; shared along `and`, `or` and commas."""
    sides: list[set[str]] = [set() for _ in mentions]
    for match in _SIDE.finditer(clause):
        word = match.group()
        meant = {word} if word in SIDES else set(SIDES)
        before = max((i for i, mention in enumerate(mentions) if mention.end <= match.start()), default=None)
        after = min((i for i, mention in enumerate(mentions) if mention.start >= match.end()), default=None)
        if before is None and after is None:
            continue
        if before is None or after is None:
            owner = after if before is None else before
        else:
            between = clause[mentions[before].end : match.start()]
            behind = _SIDE_AFTER.search(between) or re.fullmatch(r"(?: in| on| at)?(?: the)? (?:left|right) and ", between)
            owner = before if behind else after
        assert owner is not None
        sides[owner] |= meant
    # "left effusion and pneumothorax", "effusion and pneumothorax on the left": a bare one takes its neighbour's side.
    for i in range(1, len(mentions)):
        if not sides[i] and mentions[i - 1].finding in _LATERAL:
            sides[i] |= sides[i - 1]
    for i in range(len(mentions) - 2, -1, -1):
        if not sides[i] and mentions[i + 1].finding in _LATERAL:
            sides[i] |= sides[i + 1]
    return sides


def _cellularity(clause: str, mention: _Mention) -> set[str]:
    """The label of the level word nearest to the mention (none for a moderate level)."""
    if mention.text.startswith("hyper"):
        return {"high cellularity"}
    if mention.text.startswith(("hypo", "pauci")):
        return {"low cellularity"}
    levels = [(min(abs(m.start() - mention.end), abs(mention.start - m.end())), m.group()) for m in _LEVEL.finditer(clause)]
    nearest = min(levels, default=(0, ""))[1]
    return {_LEVELS[nearest]} if nearest in _LEVELS else set()


def statements(sentence: str) -> set[tuple[str, bool]]:
    """(label, whether it is affirmed) of what one sentence (any case, without its full stop) affirms or denies."""
    sentence = _SPACE.sub(" ", _OTHER.sub(" ", sentence.lower())).strip()
    sentence = _HARMLESS.sub(" ", sentence)
    said: set[tuple[str, bool]] = set()
    for part in _CLAUSE.split(sentence):
        clause = part.strip(" ,")
        mentions = _mentions(clause)
        for mention, sides in zip(mentions, _sides(clause, mentions), strict=True):
            affirmed = not _denied(clause, mention)
            if mention.finding == "cardiomegaly":
                if "cardiomegaly" in mention.text or "enlarge" in mention.text or _LARGE_HEART.search(clause):
                    said.add(("cardiomegaly", affirmed))
            elif mention.finding == "cellularity":
                said |= {(label, affirmed) for label in _cellularity(clause, mention)}
            elif mention.finding in _LATERAL:
                if not sides and (not affirmed or _PLURAL.search(mention.text)):
                    sides = set(SIDES)
                said |= {(f"{side} {mention.finding}", affirmed) for side in sides}
            else:
                said.add((mention.finding, affirmed))
    return said


def read_sentence(sentence: str) -> set[str]:
    """The labels that one sentence (any case, without its full stop) affirms."""
    return {label for label, affirmed in statements(sentence) if affirmed}


class PhantomReportChecker:
    """Report -> findings, by the rules of this module."""

    name = "phantom-report-checker"
    labels = LABELS

    def __init__(self) -> None:
        self.fingerprint = hash_of([self.name, _READING, LABELS])

    def read(self, report: str) -> dict[str, str]:
        """What one report says: label -> `present`, or `absent` where it is denied and nowhere affirmed."""
        said = set().union(*map(statements, _SENTENCE.split(report)))
        return {label: "present" if (label, True) in said else "absent" for label, _ in sorted(said)}

    def __call__(self, reports: Sequence[str]) -> list[frozenset[str]]:
        """The labels that each report affirms; an empty report affirms none."""
        return [frozenset().union(*map(read_sentence, _SENTENCE.split(report))) for report in reports]
