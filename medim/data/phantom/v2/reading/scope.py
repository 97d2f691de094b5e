"""Which cue governs which finding of a clause, and which side belongs to it."""

import re
from dataclasses import dataclass, field
from itertools import pairwise

from medim.data.phantom import checkers
from medim.data.phantom.labels import ABSENT, PRESENT, SIDES, UNCERTAIN
from medim.data.phantom.v2.reading import lexicon

SILENT = "silent"  # named, and nothing said of it


@dataclass
class Mention(checkers.Mention):
    """One name of a finding, and what its clause says of it."""

    state: str = PRESENT
    segment: int = 0
    sides: set[str] = field(default_factory=set)
    trailing: bool = False  # whether its side stands behind it


def mentions_of(clause: str) -> list[Mention]:
    """The names of findings in a clause, an enlarged heart among them, from left to right."""
    found = [Mention("cardiomegaly", m.group(), m.start(), m.end()) for m in lexicon.ENLARGED_HEART.finditer(clause)]
    for named in lexicon.NAMES.find(clause):
        if not any(m.start < named.end and named.start < m.end for m in found):
            found.append(Mention(**vars(named)))
    return sorted(found, key=lambda mention: mention.start)


def cellularity_level(clause: str, mention: Mention) -> tuple[str | None, int]:
    """`low`, `moderate` or `high`, from the name itself or the level word nearest to it, and where that word begins."""
    for start, level in lexicon.LEVEL_NAMES.items():
        if mention.text.startswith(start):
            return level, mention.end
    words = [(min(abs(m.start() - mention.end), abs(mention.start - m.end())), m) for m in lexicon.LEVEL.finditer(clause)]
    if not words:
        return None, mention.end
    nearest = min(words, key=lambda word: word[0])[1]
    return lexicon.LEVELS[nearest.group()], nearest.start()


def assign_states(clause: str, mentions: list[Mention]) -> None:
    """Gives each mention its state: by the cue before it, then by the one that closes the clause."""
    cues = [(m.start(), m.end(), m.lastgroup or PRESENT, m.group()) for m in lexicon.BEFORE.finditer(clause)]
    state, segment, fresh = PRESENT, 0, False
    place = 0
    for mention in mentions:
        for start, _, cue, word in cues:
            if not place <= start < mention.end or (start >= mention.start and mention.kind != "cardiomegaly"):
                continue
            combined = fresh and (state in (ABSENT, SILENT) or (state == UNCERTAIN and cue == ABSENT))
            state = state if combined else cue
            segment += int(word not in ("rather than", "instead of"))
            fresh = True
        if state == UNCERTAIN and not fresh and re.search(r",|\bwith\b", clause[place : mention.start]):
            state = PRESENT  # "possible effusion, cardiomegaly", "possible effusion with edema": the doubt ends there
        mention.state, mention.segment = state, segment
        if mention.kind == "cellularity" and state == ABSENT and not fresh and "," in clause[place : mention.start]:
            mention.state = PRESENT  # "no necrosis, hypercellular"
        place, fresh = mention.end, False
    _close(clause, mentions)
    for i in range(1, len(mentions)):
        between = clause[mentions[i - 1].end : mentions[i].start]
        if re.search(r"\b(?:or|versus|vs)\b", between) and mentions[i - 1].state == mentions[i].state == PRESENT:
            mentions[i - 1].state = mentions[i].state = UNCERTAIN
    if versus := re.search(r"\b(?:versus|vs)\b", clause):
        after = [mention for mention in mentions if mention.start >= versus.end()]
        before = [mention for mention in mentions if mention.end <= versus.start()]
        for mention in before[-1:] + after[:1]:
            if mention.state == PRESENT:
                mention.state = UNCERTAIN


def _close(clause: str, mentions: list[Mention]) -> None:
    """Applies the cues that stand after what they govern."""
    first = 0
    for cue in lexicon.AFTER.finditer(clause):
        last = mentions[-1].end <= cue.start()
        if not last and not lexicon.COPULA.search(clause[: cue.start()]):
            continue
        state = cue.lastgroup or PRESENT
        for mention in mentions[first:]:
            if mention.end > cue.start() or mention.state == SILENT:
                continue
            if not (mention.state == ABSENT and state == UNCERTAIN):
                mention.state = state
        first = sum(mention.end <= cue.start() for mention in mentions)
    past = lexicon.WAS_THERE.search(clause)
    if past and not lexicon.IS_THERE.search(clause):
        for mention in mentions:
            mention.state = SILENT


def sides_of(word: str) -> set[str]:
    return {word} if word in SIDES else set(SIDES)


def assign_sides(clause: str, mentions: list[Mention]) -> None:
    """Gives each mention its sides: those nearest by commas and conjunctions, then its neighbour's."""
    for match in lexicon.SIDE.finditer(clause):
        before = max((i for i, mention in enumerate(mentions) if mention.end <= match.start()), default=None)
        after = min((i for i, mention in enumerate(mentions) if mention.start >= match.end()), default=None)
        owner = after if before is None else before
        if before is not None and after is not None:
            left = clause[mentions[before].end : match.start()]
            right = clause[match.end() : mentions[after].start]
            parted = lexicon.SEPARATOR.search(left) is not None, lexicon.SEPARATOR.search(right) is not None
            if parted[0] != parted[1]:
                owner = after if parted[0] else before
            else:
                behind = lexicon.SIDE_AFTER.search(left) or (parted[1] and lexicon.SHARED_SIDE.fullmatch(left.strip() + " "))
                owner = before if behind else after
        if owner is not None:
            mentions[owner].sides |= sides_of(match.group())
            mentions[owner].trailing |= owner == before
    # "left effusion and pneumothorax"
    for near, bare in pairwise(mentions):
        if not bare.sides and near.kind in lexicon.LATERAL and near.segment == bare.segment:
            bare.sides |= near.sides
    # "effusion and pneumothorax on the left", but not "effusion or left nodule"
    for near, bare in pairwise(reversed(mentions)):
        if not bare.sides and near.trailing and near.kind in lexicon.LATERAL and near.segment == bare.segment:
            bare.sides, bare.trailing = set(near.sides), near.trailing
