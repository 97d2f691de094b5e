"""Reads findings from reports of version 2: exact on its grammar, tolerant of the free text that a model may write.

A report is read sentence by sentence, a sentence clause by clause. In a clause, names of findings are found; a cue before a
name ("no", "possible") governs it up to the next cue, a cue that closes the clause ("has resolved", "cannot be excluded")
governs the names before it and has the last word. Sides go to the name they stand nearest to; a name without one takes its
neighbour's.

Rules where usage leaves room:

* A finding with sides that is asserted or left open without one counts for neither side, in the plural for both; denied without
  one, for both.
* "Likely", "probable", "consistent with", "suggestive of" and the like assert. "Possible", "suspected", "questionable", "may",
  "versus", "or" between two findings, "cannot be excluded" and the like leave open. "Unlikely", "no definite", "no large" deny.
* "No new X", "no other X", "history of X" and "evaluate for X" say nothing of X; "no change in X" asserts it.
* A level of cellularity that is asserted denies the others; denied or left open, it says nothing of them.
* "The lungs are clear" denies consolidation, nodules and edema (of one lung: consolidation and nodules there), clear
  costophrenic angles effusions. "No abnormality", "normal chest" name no finding and so say nothing.
* Where a report speaks of a label more than once, an assertion outweighs an open statement, and that a denial.
"""

import re
from functools import lru_cache

from medim.data.phantom.checkers import ReportChecker
from medim.data.phantom.labels import ABSENT, LABELS, PRESENT, SIDES, UNCERTAIN
from medim.data.phantom.v2.reading import lexicon
from medim.data.phantom.v2.reading.scope import (
    SILENT,
    Mention,
    assign_sides,
    assign_states,
    cellularity_level,
    mentions_of,
    sides_of,
)

_WEIGHT = {ABSENT: 0, UNCERTAIN: 1, PRESENT: 2}

_NAMING = (
    lexicon.NAME,
    lexicon.PRONOUN,
    lexicon.ENLARGED_HEART,
    lexicon.NORMAL_HEART,
    lexicon.CLEAR_LUNGS,
    lexicon.CLEAR_ANGLES,
)
_SENTENCE = re.compile(r"[.!\n]+")
_SPACE = re.compile(r"\s+")
_OTHER = re.compile(r"[^a-z0-9&,;:' /-]+")
_DECIMAL = re.compile(r"\d+\.\d+|(?<=\d) ?\. ?(?=\d+ (?:mm|cm)\b)")
_ITEM = re.compile(r"(?:^|(?<=[.\n:]))\s*\d+\s*[.)](?=\s)")
_QUESTION_BEFORE = re.compile(r"(?:^|(?<=[\s(]))\?+\s*(?=[a-z])")
_QUESTION_AFTER = re.compile(r"(?<=\w)\s*\?+")


def sentences(report: str) -> list[str]:
    """The sentences of a report, lower case, without sections that do not describe the picture."""
    text = lexicon.SKIPPED_SECTION.sub("\n", report.lower())
    text = lexicon.HEADING.sub("\n", text)
    text = _ITEM.sub(" ", _DECIMAL.sub("0", text))
    text = _QUESTION_AFTER.sub(" questionable. ", _QUESTION_BEFORE.sub("questionable ", text))
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


def rewritten(sentence: str) -> str:
    """A sentence in the few forms that the reader knows: abbreviations spelt out, denials that are none turned round."""
    sentence = sentence.replace(">", " greater than ")
    sentence = _SPACE.sub(" ", _OTHER.sub(" ", sentence)).strip()
    for pattern, text in lexicon.REWRITES:
        sentence = pattern.sub(text, sentence)
    if not re.search(r"\b(?:heart|cardiac|cellular|cellularity)\b", sentence):
        sentence = lexicon.NOT_ENLARGED.sub(" persists ", sentence)
    return _SPACE.sub(" ", sentence.replace(":", " : ")).replace(" ,", ",").strip()


def clauses(sentence: str) -> list[str]:
    """The clauses of a sentence from `rewritten`."""
    parts = (piece.strip(" ,") for part in lexicon.BREAK.split(sentence) for piece in _pieces(part))
    return [clause for part in parts if part for clause in _coordinated(part)]


def _pieces(part: str) -> list[str]:
    """Cut at ", the", "and a", "with one", ... where what follows names something ("with a rim of 20 mm" does not)."""
    joints = list(lexicon.SOFT_BREAK.finditer(part))
    ends = [*(joint.start() for joint in joints), len(part)][1:]
    pieces, start = [], 0
    for joint, end in zip(joints, ends, strict=True):
        if any(pattern.search(part, joint.end(), end) for pattern in _NAMING):
            pieces.append(part[start : joint.start()])
            start = joint.end()
    return [*pieces, part[start:]]


def _coordinated(clause: str) -> list[str]:
    """A clause split where two statements with verbs of their own are joined by a comma or `and`."""
    for joint in lexicon.COORDINATOR.finditer(clause):
        left, right = clause[: joint.start()], clause[joint.end() :]
        name = lexicon.NAME.search(right)
        if name is None or not (lexicon.NAME.search(left) or lexicon.ENLARGED_HEART.search(left)):
            continue
        verb = lexicon.FINITE.search(right, name.end())
        if verb is None or re.search(r"\bor\b", right[: verb.start()]):
            continue
        alone = len(lexicon.NAME.findall(right)) == 1 and lexicon.AFTER.search(right, name.end()) and "," in joint.group()
        if lexicon.FINITE.search(left) or alone:
            return [left.strip(" ,"), *_coordinated(right.strip(" ,"))]
    return [clause]


@lru_cache(maxsize=1 << 16)  # reports of one kind repeat their sentences
def read_sentence(sentence: str) -> tuple[tuple[str, str], ...]:
    """What a sentence from `sentences` says: (label, state) each, the state `present`, `absent` or `uncertain`."""
    reader = _Reader()
    for clause in clauses(rewritten(sentence)):
        reader.clause(clause)
    return tuple(reader.said.items())


class _Reader:
    """Reads the clauses of one sentence; remembers the last finding named, for what refers back to it."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self._last: list[Mention] = []

    def _say(self, label: str, state: str) -> None:
        if state != SILENT:
            self.said[label] = heavier(self.said.get(label), state)

    def clause(self, clause: str) -> None:
        """Takes in what one clause says."""
        clause = self._normal_parts(clause)
        mentions = mentions_of(clause)
        if mentions:
            assign_states(clause, mentions)
            assign_sides(clause, mentions)
            self._last = [mention for mention in mentions if mention.kind in lexicon.LATERAL] or mentions[-1:]
        else:
            mentions = self._referred(clause)
        for mention in mentions:
            self._assert(clause, mention)

    def _normal_parts(self, clause: str) -> str:
        """Says what normal lungs, angles and a normal heart deny, and blanks them."""
        for pattern, kinds in ((lexicon.CLEAR_LUNGS, ("consolidation", "nodule")), (lexicon.CLEAR_ANGLES, ("effusion",))):
            for match in pattern.finditer(clause):
                side = match.group("a") or match.group("b")
                for kind in kinds:
                    for one in [side] if side else SIDES:
                        self._say(f"{one} {kind}", ABSENT)
                if kinds[0] == "consolidation" and not side:
                    self._say("pulmonary edema", ABSENT)
            clause = pattern.sub(lambda match: " " * len(match.group()), clause)
        for match in lexicon.NORMAL_HEART.finditer(clause):
            if not re.search(r"\bnot\b", match.group()):
                self._say("cardiomegaly", ABSENT)
        return lexicon.NORMAL_HEART.sub(lambda match: " " * len(match.group()), clause)

    def _referred(self, clause: str) -> list[Mention]:
        """The last findings named, as a clause without a name speaks of them again: "none on the left", "it has resolved"."""
        before, after = lexicon.BEFORE.search(clause), lexicon.AFTER.search(clause)
        sides = {side for match in lexicon.SIDE.finditer(clause) for side in sides_of(match.group())}
        pronoun = lexicon.PRONOUN.search(clause)
        if not self._last or not (pronoun or (sides and (before or after))):
            return []
        state = PRESENT
        for cue in (before, after):
            if cue is not None and cue.lastgroup is not None:
                state = cue.lastgroup
        new = lexicon.NEW_ONE.search(clause) is not None
        if (state == PRESENT or new) and not sides:
            return []
        found = [mention for mention in self._last if mention.kind in lexicon.LATERAL] if sides else self._last
        return [Mention(m.kind, m.text, m.start, m.end, state, sides=sides or m.sides) for m in found]

    def _assert(self, clause: str, mention: Mention) -> None:
        kind, state = mention.kind, mention.state
        if kind in lexicon.ONLY_DENIED:
            if state == ABSENT:
                for label in lexicon.ONLY_DENIED[kind]:
                    self._say(label, ABSENT)
        elif kind == "extubated":
            if state == PRESENT:
                self._say("endotracheal tube", ABSENT)
        elif kind == "cellularity":
            self._cellularity(clause, mention)
        elif kind in lexicon.LATERAL:
            sides = mention.sides
            if not sides and (state == ABSENT or lexicon.PLURAL.search(mention.text)):
                sides = set(SIDES)
            for one in ("effusion", "pneumothorax") if kind == "hydropneumothorax" else (kind,):
                for side in sides:
                    self._say(f"{side} {one}", state)
        else:
            self._say(kind, state)

    def _cellularity(self, clause: str, mention: Mention) -> None:
        level, end = cellularity_level(clause, mention)
        state = mention.state
        if state == PRESENT and (cue := lexicon.BEFORE.search(clause, mention.end, end)):
            state = cue.lastgroup or PRESENT  # "cellularity is not high", "cellularity may be high"
        for other in ("low", "high"):
            if level == other:
                self._say(f"{other} cellularity", state)
            elif level is not None and state == PRESENT:
                self._say(f"{other} cellularity", ABSENT)


def heavier(one: str | None, other: str) -> str:
    """The state that counts where a report says both."""
    return other if one is None or _WEIGHT[other] > _WEIGHT[one] else one


def read(report: str) -> dict[str, str]:
    """What a report says: for each label that it speaks of, `present`, `absent` or `uncertain`, in the order of `LABELS`."""
    said: dict[str, str] = {}
    for sentence in sentences(report):
        for label, state in read_sentence(sentence):
            said[label] = heavier(said.get(label), state)
    return {label: said[label] for label in LABELS if label in said}


# A report leaves open only what is in the picture: that counts as present.
CHECKER = ReportChecker("phantom-v2-report-checker[uncertain=present]", read, (PRESENT, UNCERTAIN))
