"""Sentences around a noun phrase: asserted, likely, left open, compared with the prior study, gone, denied."""

from dataclasses import dataclass

import numpy as np

from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.findings import is_graded
from medim.data.phantom.v2.names import PATHOLOGY
from medim.data.phantom.v2.reading.statements import CERTAIN, PRESENT, UNCERTAIN, Statement
from medim.data.phantom.v2.writing.chest import BOTH_SIDES, CHEST_WORDING, UNLIKE_SIDES
from medim.data.phantom.v2.writing.frames import (
    ASSERTED,
    BEFORE,
    BEFORE_BIOPSY,
    COURSE,
    COURSE_WORDS,
    LIKELY,
    LIKELY_WORDS,
    MEASURED,
    NEW_SINCE,
    NEW_SINCE_BIOPSY,
    OPEN,
    OPEN_WORDS,
    PLACED,
    REMOVED,
    SHORT_BOTH,
    SINCE,
    SINCE_BIOPSY,
)
from medim.data.phantom.v2.writing.pathology import PATHOLOGY_WORDING
from medim.data.phantom.v2.writing.phrases import Phrase, Wording, count_word, measure, name, pick, slots, tidy

WORDING: dict[str, Wording] = CHEST_WORDING | PATHOLOGY_WORDING
OWN_SENTENCE = 0.4  # share of assertions that use a sentence of the finding's own rather than a frame
_COUNTED = tuple(f"{count_word(number)} " for number in range(2, 8))


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


def since(case: Case, rng: np.random.Generator, new: bool = False) -> str:
    """When it changed: since the prior study, or biopsy; `new` for what was not there before."""
    if case.domain == PATHOLOGY:
        return pick(rng, NEW_SINCE_BIOPSY if new else SINCE_BIOPSY)
    return pick(rng, NEW_SINCE if new else SINCE)


def before(case: Case, rng: np.random.Generator) -> str:
    """Where it was seen before."""
    return pick(rng, BEFORE_BIOPSY if case.domain == PATHOLOGY else BEFORE)


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
            pick(rng, SHORT_BOTH[group.first.kind]), group.wording.counted, plural=group.first.kind != "consolidation"
        )
    assert group.first.finding is not None
    return name(group.first.finding, group.wording, group.pathology, rng, short=True)


def _behind_adjective(phrase: Phrase, brief: Phrase) -> Phrase:
    return brief if phrase.text.startswith(_COUNTED) else phrase


def _fill(template: str, phrase: Phrase, brief: Phrase, **words: str) -> str:
    """Fills a frame; the verb agrees with the phrase that the frame uses.

    Behind an adjective a number is left out: "stable glands", not "stable two glands".
    """
    plural = brief.plural if ("{the}" in template or "{short}" in template) else phrase.plural
    return template.format(
        p=phrase.text if template.startswith("{p}") else _behind_adjective(phrase, brief).text,
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
    words = {"since": since(case, rng, new=statement.course == "new"), "before": before(case, rng)}
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
    brief = short(group, rng)
    if "," in phrase.text:  # a list has commas of its own
        phrase = brief
    if statement.state == UNCERTAIN or statement.likely or statement.course is not None:
        phrase = _behind_adjective(phrase, brief)
    if statement.state == UNCERTAIN:
        return Phrase(f"{pick(rng, OPEN_WORDS)} {phrase.text}", phrase.counted, phrase.plural)
    assert statement.state == PRESENT
    words = LIKELY_WORDS if statement.likely else COURSE_WORDS.get(statement.course or "", ())
    return Phrase(f"{pick(rng, words)} {phrase.text}", phrase.counted, phrase.plural) if words else phrase
