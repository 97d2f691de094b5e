"""Sentences around a noun phrase: asserted, likely, left open, compared with the prior study, gone, denied."""

from dataclasses import dataclass

import numpy as np

from medim.data.phantom.labels import PRESENT, UNCERTAIN
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.findings import SEVERITIES
from medim.data.phantom.v2.writing.phrases import WORDS, Phrase, Wording, count_word, measure, name, pick, slots, tidy
from medim.data.phantom.v2.writing.statements import CERTAIN, Statement

OWN_SENTENCE = 0.4  # share of assertions that use a sentence of the finding's own rather than a frame
_COUNTED = tuple(f"{count_word(number)} " for number in range(2, 8))


@dataclass(frozen=True)
class Group:
    """What one sentence states: one label, or the left and the right of one kind with the same state and course."""

    statements: tuple[Statement, ...]

    @property
    def first(self) -> Statement:
        """The one that stands for the state and course of all."""
        return self.statements[0]

    @property
    def wording(self) -> Wording:
        return WORDS.findings[self.first.kind]


def since(case: Case, rng: np.random.Generator, new: bool = False) -> str:
    """When it changed: since the prior study, or biopsy; `new` for what was not there before."""
    return pick(rng, (WORDS.new_since if new else WORDS.since)[case.domain])


def _both(group: Group, rng: np.random.Generator) -> Phrase:
    left, right = (statement.finding for statement in group.statements)
    assert left is not None
    assert right is not None
    kind, wording = group.first.kind, group.wording
    largest = left if left.size >= right.size else right
    sides = ("left", "right") if largest is left else ("right", "left")
    words = slots(left, rng)
    level = SEVERITIES.index(right.severity)
    zones = f"in both {left.zone} zones" if left.zone == right.zone else f"in the left {left.zone} and right {right.zone} zones"
    words |= {
        "left": words["sev"],
        "right": pick(rng, wording.severity[level]),
        "larger": sides[0],
        "smaller": sides[1],
        "zones": zones,
        "size": measure(largest, rng),
        "leftsize": measure(left, rng),
        "rightsize": measure(right, rng),
        "leftzone": left.zone or "",
        "rightzone": right.zone or "",
    }
    unlike = left.severity != right.severity and bool(words["sev"])
    text = tidy(pick(rng, (WORDS.unlike_sides if unlike else WORDS.both_sides)[kind]).format(**words))
    return Phrase(text, wording.counted, plural=kind != "consolidation")


def full(group: Group, rng: np.random.Generator) -> Phrase:
    """The noun phrase with what is known of size, place and number."""
    if len(group.statements) == 2:
        return _both(group, rng)
    assert group.first.finding is not None
    return name(group.first.finding, rng)


def short(group: Group, rng: np.random.Generator) -> Phrase:
    """The noun phrase that refers back."""
    if len(group.statements) == 2:
        text = pick(rng, WORDS.short_both[group.first.kind])
        return Phrase(text, group.wording.counted, plural=group.first.kind != "consolidation")
    assert group.first.finding is not None
    return name(group.first.finding, rng, short=True)


def _behind_adjective(phrase: Phrase, brief: Phrase) -> Phrase:
    return brief if phrase.text.startswith(_COUNTED) else phrase


def _fill(template: str, phrase: Phrase, brief: Phrase, **words: str) -> str:
    """Fills a frame; the verb agrees with the phrase that the frame uses.
    Behind an adjective a number is left out: "stable glands", not "stable two glands"."""
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
    words = {"since": since(case, rng, new=statement.course == "new"), "before": pick(rng, WORDS.before[case.domain])}
    if statement.course is None:
        own, frames = wording.present, WORDS.frames["asserted"]
        if statement.state == UNCERTAIN:
            own, frames = wording.open, WORDS.frames["open"]
        if statement.likely:
            own, frames = (), WORDS.frames["likely"]
        if own and alone is not None and rng.random() < OWN_SENTENCE:
            known = slots(alone, rng) | {"a_full": phrase.indefinite}
            return tidy(pick(rng, own).format(**known))
        return _fill(pick(rng, frames), phrase, brief)
    frames = WORDS.course[statement.course]
    if statement.label in CERTAIN and statement.course == "resolved":
        frames = WORDS.frames["removed"]
    if statement.label in CERTAIN and statement.course == "new":
        frames = WORDS.frames["placed"]
    if (
        alone
        and statement.before
        and statement.kind == "nodule"
        and statement.course in ("increased", "decreased")
        and (rng.random() < 0.5)
    ):
        words |= {"size": measure(alone, rng), "earlier": measure(statement.before, rng)}
        frames = WORDS.frames["measured"]
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
        return Phrase(f"{pick(rng, WORDS.open_words)} {phrase.text}", phrase.counted, phrase.plural)
    assert statement.state == PRESENT
    words = WORDS.likely_words if statement.likely else WORDS.course_words.get(statement.course or "", ())
    return Phrase(f"{pick(rng, words)} {phrase.text}", phrase.counted, phrase.plural) if words else phrase
