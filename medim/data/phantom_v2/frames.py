"""Sentences around a noun phrase: asserted, likely, left open, compared with the prior study, gone, denied."""

from dataclasses import dataclass

import numpy as np

from medim.data.phantom_v2.cases import Case
from medim.data.phantom_v2.findings import is_graded
from medim.data.phantom_v2.names import PATHOLOGY
from medim.data.phantom_v2.phrases import Phrase, Wording, measure, name, pick, slots, tidy
from medim.data.phantom_v2.statements import CERTAIN, PRESENT, UNCERTAIN, Statement
from medim.data.phantom_v2.wording_chest import BOTH_SIDES, CHEST_WORDING, UNLIKE_SIDES
from medim.data.phantom_v2.wording_pathology import PATHOLOGY_WORDING

WORDING: dict[str, Wording] = CHEST_WORDING | PATHOLOGY_WORDING
OWN_SENTENCE = 0.4  # share of assertions that use a sentence of the finding's own rather than a frame

# {p} the noun phrase, {a} with its indefinite and {same} with its definite article; {the} the short one with its definite.
ASSERTED: tuple[str, ...] = (
    "{p}",
    "there {is} {a}",
    "{a} {is} seen",
    "{a} {is} present",
    "{a} {is} noted",
    "note is made of {a}",
)
LIKELY: tuple[str, ...] = (
    "probable {p}",
    "likely {p}",
    "{a} {is} likely",
    "appearances consistent with {a}",
    "findings in keeping with {a}",
    "there {is} probably {a}",
    "{a} {is} probable",
    "findings compatible with {a}",
)
OPEN: tuple[str, ...] = (
    "possible {p}",
    "questionable {p}",
    "suspected {p}",
    "{a} {is} suspected",
    "{a} cannot be excluded",
    "there may be {a}",
    "{a} {is} possible",
    "suspicion of {a}",
    "equivocal {p}",
    "{a} {is} not excluded",
    "concern for {a}",
)
COURSE: dict[str, tuple[str, ...]] = {
    "new": (
        "new {p}",
        "{a} {has} developed {since}",
        "{a} {has} appeared {since}",
        "new {p} {since}",
        "{a} {is} now present",
        "{a}, new {since}",
        "{a}, not seen {before}",
    ),
    "increased": (
        "{the} {has} {grown} {since}",
        "interval increase in {the}",
        "{the} {is} {more} than {before}",
        "increasing {p}",
        "{a}, increased {since}",
        "worsening {p} {since}",
    ),
    "decreased": (
        "{the} {has} {shrunk} {since}",
        "interval decrease in {the}",
        "{the} {is} {less} than {before}",
        "decreasing {p}",
        "{a}, decreased {since}",
        "improving {p} {since}",
        "residual {p}",
    ),
    "unchanged": (
        "{same} {is} unchanged",
        "stable {p}",
        "persistent {p}",
        "unchanged {p} {since}",
        "{a} {is} again seen",
        "no change in {same}",
        "no significant interval change in {the}",
        "{the} {has} not changed {since}",
        "{a}, unchanged {since}",
        "{the} {is} still present",
    ),
    "resolved": (
        "{the} {has} {gone}",
        "the previously seen {short} {is} no longer seen",
        "interval resolution of {the}",
        "{the} seen {before} {has} {gone}",
        "the previously noted {short} {has} {gone} {since}",
        "{the} {is} no longer visible",
    ),
}
MEASURED: tuple[str, ...] = (
    "{the} now {measures} {size}, previously {earlier}",
    "{the} {measures} {size}, compared with {earlier} {before}",
)
PLACED: tuple[str, ...] = (
    "new {p}",
    "{a} {has} been placed {since}",
    "{a}, new {since}",
    "interval placement of {a}",
    "{a} {is} now present",
)
REMOVED: tuple[str, ...] = ("{the} has been removed", "interval removal of {the}", "{the} {is} no longer seen")
COURSE_WORDS: dict[str, tuple[str, ...]] = {
    "new": ("new",),
    "increased": ("increasing", "worsening"),
    "decreased": ("decreasing", "improving"),
    "unchanged": ("unchanged", "stable", "persistent"),
}
LIKELY_WORDS = ("probable", "likely", "presumed")
OPEN_WORDS = ("possible", "questionable", "suspected", "equivocal")
DENIED: tuple[str, ...] = (
    "no {these}",
    "there is no {these}",
    "no {these} is seen",
    "no evidence of {these}",
    "no {these} is identified",
    "there is no evidence of {these}",
    "negative for {these}",
)
DENIED_SIDE: tuple[str, ...] = (
    "no {side} {these}",
    "no {these} on the {side}",
    "there is no {side} {these}",
    "no evidence of {side} {these}",
)

_SINCE = (
    "since the prior study",
    "since the previous examination",
    "compared with the prior radiograph",
    "from the prior study",
    "in the interval",
)
_BEFORE = ("on the prior study", "on the previous examination", "on the earlier radiograph")
_SINCE_BIOPSY = ("since the previous biopsy", "compared with the prior biopsy", "in the interval")
_BEFORE_BIOPSY = ("in the previous biopsy", "in the prior specimen")
_SHORT_BOTH = {
    "effusion": ("bilateral pleural effusions", "bilateral effusions"),
    "pneumothorax": ("bilateral pneumothoraces",),
    "consolidation": ("bilateral consolidation",),
    "nodule": ("bilateral lung nodules", "bilateral nodules"),
}


@dataclass(frozen=True)
class Group:
    """Statements told in one breath: one label, or the left and the right of one kind with the same state and course."""

    statements: tuple[Statement, ...]
    pathology: bool

    @property
    def first(self) -> Statement:
        """The one that stands for the state and course of all."""
        return self.statements[0]

    @property
    def wording(self) -> Wording:
        """The words of its kind."""
        return WORDING[self.first.kind]


def since(case: Case, rng: np.random.Generator) -> str:
    """When it changed: since the prior study, or biopsy."""
    return pick(rng, _SINCE_BIOPSY if case.domain == PATHOLOGY else _SINCE)


def before(case: Case, rng: np.random.Generator) -> str:
    """Where it was seen before."""
    return pick(rng, _BEFORE_BIOPSY if case.domain == PATHOLOGY else _BEFORE)


def _both(group: Group, rng: np.random.Generator) -> Phrase:
    left, right = (statement.finding for statement in group.statements)
    assert left is not None
    assert right is not None
    kind, wording = group.first.kind, group.wording
    largest = left if left.size >= right.size else right
    sides = ("left", "right") if largest is left else ("right", "left")
    words = slots(left, wording, group.pathology, rng)
    level = ("mild", "moderate", "severe").index(right.severity)
    zones = f"in both {left.zone} zones" if left.zone == right.zone else f"in the left {left.zone} and right {right.zone} zones"
    words |= {
        "left": words["sev"],
        "right": pick(rng, wording.severity[level]),
        "larger": sides[0],
        "smaller": sides[1],
        "zones": zones,
        "size": measure(largest, group.pathology, rng),
        "leftsize": measure(left, group.pathology, rng),
        "rightsize": measure(right, group.pathology, rng),
        "leftzone": left.zone or "",
        "rightzone": right.zone or "",
    }
    unlike = left.severity != right.severity and bool(words["sev"])
    text = tidy(pick(rng, (UNLIKE_SIDES if unlike else BOTH_SIDES)[kind]).format(**words))
    return Phrase(text, wording.counted, plural=kind != "consolidation")


def full(group: Group, rng: np.random.Generator) -> Phrase:
    """The noun phrase with what is known of size, place and number."""
    if len(group.statements) == 2:
        return _both(group, rng)
    assert group.first.finding is not None
    return name(group.first.finding, group.wording, group.pathology, rng)


def short(group: Group, rng: np.random.Generator) -> Phrase:
    """The noun phrase that refers back."""
    if len(group.statements) == 2:
        return Phrase(
            pick(rng, _SHORT_BOTH[group.first.kind]), group.wording.counted, plural=group.first.kind != "consolidation"
        )
    assert group.first.finding is not None
    return name(group.first.finding, group.wording, group.pathology, rng, short=True)


def _fill(template: str, phrase: Phrase, brief: Phrase, **words: str) -> str:
    """Fills a frame; the verb agrees with the phrase that the frame uses."""
    plural = brief.plural if ("{the}" in template or "{short}" in template) else phrase.plural
    return template.format(
        p=phrase.text,
        a=phrase.indefinite,
        same=phrase.definite,
        the=brief.definite,
        short=brief.text,
        **{"is": "are" if plural else "is"},
        has="have" if plural else "has",
        measures="measure" if plural else "measures",
        **words,
    )


def tell(group: Group, case: Case, rng: np.random.Generator) -> str:
    """One sentence, without its capital and full stop, that says all there is to say of a group."""
    statement, wording = group.first, group.wording
    alone = statement.finding if len(group.statements) == 1 else None
    phrase, brief = full(group, rng), short(group, rng)
    words = {"since": since(case, rng), "before": before(case, rng)}
    if statement.course is None:
        own, frames = wording.present, ASSERTED
        if statement.state == UNCERTAIN:
            own, frames = wording.open, OPEN
        if statement.likely:
            own, frames = (), LIKELY
        if own and alone is not None and rng.random() < OWN_SENTENCE:
            known = slots(alone, wording, group.pathology, rng) | {"a_full": phrase.indefinite}
            return tidy(pick(rng, own).format(**known))
        return _fill(pick(rng, frames), phrase, brief)
    frames = COURSE[statement.course]
    if statement.label in CERTAIN and statement.course == "resolved":
        frames = REMOVED
    if statement.label in CERTAIN and statement.course == "new":
        frames = PLACED
    sized = alone is not None and statement.before is not None and is_graded(statement.label) and statement.kind == "nodule"
    if sized and statement.course in ("increased", "decreased") and rng.random() < 0.5:
        assert alone is not None
        assert statement.before is not None
        words |= {
            "size": measure(alone, group.pathology, rng),
            "earlier": measure(statement.before, group.pathology, rng),
        }
        frames = MEASURED
    verbs = {
        "grown": wording.grows,
        "shrunk": wording.shrinks,
        "gone": wording.gone,
        "more": wording.more,
        "less": wording.less,
    }
    words |= {verb: pick(rng, options) for verb, options in verbs.items()}
    return _fill(pick(rng, frames), phrase, brief, **words)


def listed(group: Group, rng: np.random.Generator) -> Phrase:
    """A noun phrase that also tells certainty and course, for lists and impressions; of findings that are not absent."""
    statement = group.first
    phrase = full(group, rng)
    if "," in phrase.text:  # a list has commas of its own
        phrase = short(group, rng)
    if statement.state == UNCERTAIN:
        return Phrase(f"{pick(rng, OPEN_WORDS)} {phrase.text}", phrase.counted, phrase.plural)
    assert statement.state == PRESENT
    words = LIKELY_WORDS if statement.likely else COURSE_WORDS.get(statement.course or "", ())
    return Phrase(f"{pick(rng, words)} {phrase.text}", phrase.counted, phrase.plural) if words else phrase
