"""What one report looks like: its length, its words, and characters that were damaged on the way."""

import hashlib
import re
import unicodedata
from collections import Counter

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
VERY_SHORT = 3  # words

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{1,6}|#x[0-9a-f]{1,5});", re.IGNORECASE)
_LOST = re.compile(r"(?<=\w)\?(?=\w)")
_FOREIGN = re.compile(r"[^\x00-\x7f]{2,}")
_USUAL = frozenset("\n\r\t" + "".join(map(chr, range(0x20, 0x7F))))


def words(report: str) -> list[str]:
    """The words of a report in lower case, punctuation apart; for the vocabulary."""
    return _WORD.findall(report.casefold())


def text_key(report: str | None) -> int:
    """64 bits that are equal where reports have the same words in any case and spacing; 0 for a missing or empty one."""
    text = " ".join((report or "").casefold().split())
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") | 1 if text else 0


def unusual(report: str) -> Counter[str]:
    """The characters of a report beyond printable ASCII and line breaks."""
    return Counter(character for character in report if character not in _USUAL)


def named(character: str) -> str:
    """A character as `U+00B0 DEGREE SIGN`."""
    return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"


def damage(report: str) -> list[str]:
    """What went wrong with a report's characters, if anything: kinds of damage, each once.

    >>> damage("temperature 38 Â°C"), damage("38 °C"), damage("caf\\ufffd &lt;3 cm"), damage("38.3?C. Fever?")
    (['mojibake'], [], ['replacement characters', 'HTML entities'], ['question marks inside words'])
    """
    found = []
    if REPLACEMENT in report:
        found.append("replacement characters")
    if any(_is_mojibake(run) for run in _FOREIGN.findall(report)):
        found.append("mojibake")
    if _LOST.search(report):  # what an encoder wrote for a character it did not have
        found.append("question marks inside words")
    if _ENTITY.search(report):
        found.append("HTML entities")
    if any(unicodedata.category(character) in ("Cc", "Co", "Cn") for character in set(report) - _USUAL):
        found.append("control characters")
    return found


def _is_mojibake(run: str) -> bool:
    """Whether a run of characters beyond ASCII is UTF-8 that was read as Windows-1252 or Latin-1."""
    for encoding in ("cp1252", "latin-1"):
        try:
            return run.encode(encoding).decode("utf-8") != run
        except UnicodeError:
            continue
    return False
