"""The regular expressions of the report checker, from the words of `lexicon.yaml`."""

import re
from pathlib import Path
from typing import Any

from medim.common.declared import read_table
from medim.data.phantom.checkers import Names, either
from medim.data.phantom.labels import LATERAL as SIDED

_WORDS = read_table(Path(__file__).parents[1] / "lexicon.yaml", dict[str, Any])
Pattern = re.Pattern[str]


def _any(key: str) -> str:
    """The alternatives of a list, to stand within a pattern."""
    return "|".join(_WORDS[key])


NAMES = Names(_WORDS["names"])
NAME = NAMES.pattern
ONLY_DENIED: dict[str, tuple[str, ...]] = _WORDS["only_denied"]
LATERAL = (*SIDED, "hydropneumothorax")
PLURAL = either(_WORDS["plural"], before="", after="$")

SIDE = either(_WORDS["side"])
SIDE_AFTER = either(_WORDS["side_after"], after=" (?:the |both )?$")
SHARED_SIDE = re.compile(
    r"(?:.*\b(?:in|on|at|of) (?:the )?)?(?:left|right)(?: (?:upper|mid|middle|lower))?(?: zone| lobe| lung| side)?"
    r" and (?:the )?"
)
SEPARATOR = re.compile(rf",|\b(?:{_any('separator')})\b")

LEVELS: dict[str, str] = {word: level for level, words in _WORDS["levels"].items() for word in words}
LEVEL = either(LEVELS)
LEVEL_NAMES: dict[str, str] = {start: level for level, starts in _WORDS["level_names"].items() for start in starts}

_HEART = r"(?:heart|cardiac|cardiomediastinal)(?: (?:size|silhouettes?|shadow|contours?))*"
_LINK = rf"(?:,? (?:and )?(?:{_any('heart_with')}))*(?:(?:,? which)?,? (?:{_any('heart_link')}))*"
ENLARGED_HEART = re.compile(rf"\b(?:{_HEART}{_LINK} (?:{_any('large')}|enlargement)|(?:{_any('large')}|borderline) {_HEART})\b")
NORMAL_HEART = re.compile(
    rf"\b(?:{_HEART}{_LINK} (?:normal(?: limits| size)?|unremarkable|top[- ]normal)"
    rf"|normal (?:size (?:and \w+ )?of the )?{_HEART})\b"
)
NOT_ENLARGED = re.compile(r"\b(?:has|have|is|are)? ?not (?:\w+ly )?(?:enlarged|increased)\b")  # of the heart, it denies

_CLEAR = r"(?:clear|normal|unremarkable|free of disease)\b(?! of| from)"
_OF_SIDE = r"(?:(?P<{0}>left|right) |both |bilateral )?"
_IS = r"(?: :| is| are| remains?| appears?)?"
_ADVERBS = r"(?: \w+ly| otherwise| well[- ]expanded and| both| again| still| also|,)*"
CLEAR_LUNGS = re.compile(
    rf"\b(?:{_OF_SIDE.format('a')}lungs?(?: fields?| zones?| parenchyma)?{_IS}{_ADVERBS} {_CLEAR}"
    rf"|(?:clear|normal) {_OF_SIDE.format('b')}lungs?(?: fields?)?)"
)
CLEAR_ANGLES = re.compile(
    rf"\b(?:{_OF_SIDE.format('a')}(?:lateral )?costophrenic (?:angles?|sulcus|sulci|recess(?:es)?){_IS}{_ADVERBS}"
    r" (?:clear|sharp|preserved|intact|normal|unremarkable|not blunted)\b"
    rf"|(?:clear|sharp) {_OF_SIDE.format('b')}costophrenic (?:angles?|sulcus|sulci))"
)

# Cues are named groups: what a finding is by them. What says nothing comes first, denials before assertions.
_NOT_SEEN = rf"not(?! (?:\w+ly |well )?(?:{_any('seen')})\b)"
BEFORE = re.compile(
    rf"\b(?:(?P<silent>{_any('say_nothing')})|(?P<uncertain>{_any('leave_open')})|(?P<absent>{_any('deny')}|{_NOT_SEEN})"
    rf"|(?P<present>{_any('assert')}))(?![\w-])"
)
AFTER = re.compile(
    rf"\b(?:(?P<absent>{_any('absent_after')}|not (?:\w+ly |well )?(?:{_any('seen')}))|(?P<uncertain>{_any('open_after')}))\b"
)
COPULA = either(_WORDS["copula"], after=r"(?: \w+ly)? $")
WAS_THERE = re.compile(
    r"\b(?:was|were|had)\b(?=.*\b(?:previously|before|earlier|(?:on|in|at) the (?:prior|previous|earlier|last|preceding))\b)"
)
IS_THERE = either(_WORDS["is_there"])
PRONOUN = either(_WORDS["pronoun"])
NEW_ONE = re.compile(r"\b(?:ones?|none)\b")  # takes the finding's name but not its side

BREAK = either(_WORDS["break"], before="", after="")
# Ends a clause where something is named behind it.
SOFT_BREAK = re.compile(
    r"(?:,|\band\b|(?<!consistent )(?<!compatible )(?<!keeping )(?<!compared )\bwith\b)(?: (?:and|with))?"
    r" (?=(?:an?|there|the|one|two|three|four|several|multiple|this|that|those|it|they) )"
)
COORDINATOR = re.compile(r",(?: and)? |\band ")
FINITE = either(_WORDS["finite"])

REWRITES: tuple[tuple[Pattern, str], ...] = tuple((re.compile(pattern), text) for pattern, text in _WORDS["rewrites"])

_HEADING = rf"(?:{_any('skipped')}|{_any('described')})"
SKIPPED_SECTION = re.compile(rf"\b(?:{_any('skipped')})\s*:(?:(?:(?!\b{_HEADING}\s*:)[^\n])*(?=\n|\b{_HEADING}\s*:)|[^.\n]*)")
HEADING = re.compile(rf"\b{_HEADING}\s*:")
