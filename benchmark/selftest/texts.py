"""Changes to phantom reports whose effect on their truth is known."""

import re
from collections.abc import Collection

SEPARATORS = ("\u2028", "\u2029", "\x85", "\r", "\x0b", "\x0c", "\x1c", "\x1e")  # of lines, for one program or another
_SIDE = re.compile(r"\b(left|right)\b")
_OTHER = {"left": "right", "right": "left"}


def swapped_sides(report: str) -> str:
    """Left for right and right for left."""
    return _SIDE.sub(lambda match: _OTHER[match.group()], report)


def names_a_side(report: str) -> bool:
    """Whether there is a side to swap."""
    return _SIDE.search(report) is not None


def flipped(report: str, openings: Collection[str]) -> str:
    """Every finding that is affirmed is denied, and the other way round; `openings`, which say what it shows, stay."""
    return " ".join(sentence if sentence in openings else _flipped(sentence) for sentence in _sentences(report))


def _sentences(report: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=\.) ", report) if sentence]


def _flipped(sentence: str) -> str:
    for denial in ("there is no ", "no evidence of ", "no "):
        if sentence.startswith(denial):
            return "there is " + sentence.removeprefix(denial)
    if " not " in sentence:
        return sentence.replace(" not ", " ", 1)
    verb = re.search(r"\b(is|are)\b(?: an?\b)?", sentence)
    if verb is None:
        return f"no {sentence}"
    word = "no" if sentence.startswith("there ") else "not"
    return f"{sentence[: verb.end(1)]} {word}{sentence[verb.end() :]}"


def with_separators(report: str) -> str:
    """Each second space becomes a line separator; not the line feed, which ends a sentence for a reader too."""
    words = report.split(" ")
    pieces = [words[0]]
    for number, word in enumerate(words[1:]):
        pieces += [SEPARATORS[number // 2 % len(SEPARATORS)] if number % 2 else " ", word]
    return "".join(pieces)
