"""The sections of a free-text radiology report: its headings, their canonical names, and what stands in for them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from medim.common.declared import read_mapping

FINDINGS, IMPRESSION, COMBINED = "findings", "impression", "findings and impression"
LAST_PARAGRAPH = "last paragraph"
EXAMINATION, WET_READ, ADDENDUM, PREAMBLE = "examination", "wet read", "addendum", "preamble"
HOWS = ("heading", LAST_PARAGRAPH, "none")
MASK = "[deid]"

CANONICAL: dict[str, list[str]] = read_mapping(Path(__file__).with_name("headings.yaml").read_bytes(), "headings.yaml")
"""Canonical name -> headings, as `_key` writes them. Compounds, qualified and misspelt headings: see `canonical`."""

_NAMES = {heading: name for name, headings in CANONICAL.items() for heading in headings}
_WORDS = sorted(heading for heading in _NAMES if len(heading) >= 8 and " " not in heading)
_SHORT = frozenset({EXAMINATION, "indication", "history", "comparison", "technique", "notification"})
"""Sections of one paragraph: a later paragraph without heading is the report's, not theirs."""

_RULE = re.compile(r"\s*[_=*-]{10,}\s*")
_MARKER = re.compile(r"\s*(?:FINAL\s+REPORT\b[^a-z]*|Final [Rr]eport\s*:?\s*)")
_COLON = re.compile(r"\s*(?P<heading>[A-Za-z][^:;\n]{1,70}?)\s*[:;]+(?!\d)\s*(?P<text>.*)")
_STOP = re.compile(r"[.!?]\s")
_NO_COLON = re.compile(r"\s*(?P<heading>[A-Z][A-Z /&()']+?)(?:\s+[-\u2013]\s+|\s{2,}|\.\s+)(?P<text>\S.*)")
_INLINE = re.compile(
    r"(?<![\sA-Z&/(,-])[ \t]+(?=(?:FINDINGS?(?:(?: AND |\s?/\s?)IMPRESSIONS?)?|IMPRESSIONS?|CONCLUSIONS?|INDICATION|HISTORY"
    r"|COMPARISONS?|TECHNIQUE|RECOMMENDATIONS?|ADDENDUM):)"
)
_TITLE = re.compile(r"\b(?:CHEST|RADIOGRAPHS?|RADIOGRAPHY|X-?RAYS?|CXR|VIEWS?|PORTABLE|PA|AP|LATERAL|UPRIGHT|SUPINE)\b")
_WORD = re.compile(r"[A-Za-z]{3}")  # what a paragraph must hold to stand for the report: "DR. ___ ___" does not
_VERB = re.compile(r"\b(?:IS|ARE|WAS|WERE|HAS|HAVE|HAD|NO|NOT|THERE|SHOWS?|SEEN|CLEAR|NORMAL|UNREMARKABLE|STABLE|UNCHANGED)\b")


@dataclass(frozen=True)
class Parsed:
    """A report, taken apart."""

    # canonical name -> text, in the order of the report. A paragraph is one line; sections of one name are joined, an exact
    # repetition once. `last paragraph` is there only where `how` says so
    sections: dict[str, str]
    # where the text that describes the image comes from: `heading` (findings, impression or both have a heading), `last
    # paragraph` (no such heading: the last paragraph without any) or `none`
    how: str
    # the final report in its order, headings as written, without wet reads and addenda before it, rules, titles and the
    # examination's name
    body: str
    # number of paragraphs of the final report that stand under no heading; `body` has them, the sections do not (but `last
    # paragraph`)
    unheaded: int
    # upper-case headings that have no canonical name, as `_key` writes them; their text stays where it stands
    unknown: tuple[str, ...]

    def text(self, wanted: str, fallback: bool = True) -> str | None:
        """The text of `findings`, `impression`, `both`, `report` or any section by name; None where there is none.
        A section headed "findings and impression" serves as either. `both` is findings, then impression, or the one that there
        is; with `fallback`, the last paragraph where there is neither. `report` is `body`."""
        if wanted == "report":
            return self.body or None
        if wanted == "both":
            parts = (self.sections.get(name) for name in (FINDINGS, COMBINED, IMPRESSION))
            text = _joined(part for part in parts if part)
            return text or (self.sections.get(LAST_PARAGRAPH) if fallback else None)
        if wanted in (FINDINGS, IMPRESSION):
            return self.sections.get(wanted) or self.sections.get(COMBINED)
        return self.sections.get(wanted)


def parse(text: str) -> Parsed:
    """Takes a report apart by its headings.

    What is a heading, at the start of a line:
        * a name of `CANONICAL` in any case (first letter upper) before a colon, with text after it on the line or below;
        * such a name alone on its line (in the middle of a sentence only where it is upper-case or a name of findings or
          impression), or upper-case before two spaces, a dash or a full stop;
        * an upper-case phrase before a colon; one without canonical name stays text of its section, but ends a section of one
          paragraph (`_SHORT`);
        * the upper-case names of the usual sections before a colon within a line (flattened reports).
    Before a line "FINAL REPORT" stands a wet read or an addendum, whatever its headings; a line of ten or more underscores
    ends either. An upper-case phrase that names views ("PORTABLE AP CHEST, 9:00 A.M.") is a title; where a title has a colon
    and sentences after it and nothing is headed findings, those sentences are the findings.
    """
    lines = _INLINE.sub("\n", text.replace("\x00", " ")).splitlines()
    marker = next((n for n, line in enumerate(lines) if _MARKER.fullmatch(line)), -1)
    if not any(line.strip() and not _RULE.fullmatch(line) for line in lines[marker + 1 :]):
        marker = -1  # nothing follows: what stands before is all there is
    before = _preliminary(lines[:marker]) if marker > 0 else ()
    blocks = _blocks(lines[marker + 1 :])
    if not any(block.name in (FINDINGS, COMBINED) and block.paragraphs for block in blocks):
        for block in blocks:
            if block.title and block.is_prose():
                block.name = FINDINGS
    sections: dict[str, str] = {}
    for block in [*before, *blocks]:
        if block.name and (content := "\n".join(block.paragraphs)):
            sections[block.name] = _joined([sections[block.name], content] if block.name in sections else [content])
    how = "heading" if any(name in sections for name in (FINDINGS, IMPRESSION, COMBINED)) else "none"
    loose = [text for block in blocks if block.name is None for text in block.paragraphs if _WORD.search(text)]
    if how == "none" and loose:
        how, sections[LAST_PARAGRAPH] = LAST_PARAGRAPH, loose[-1]
    left_out = (WET_READ, ADDENDUM, EXAMINATION)
    final = [block for block in blocks if block.name not in left_out or (block.title and block.is_prose())]
    body = "\n".join(part for block in final for part in block.written())
    return Parsed(sections, how, body, len(loose), tuple(name for block in blocks for name in block.unknown))


def deidentified(text: str, policy: str) -> str:
    """One policy for the `___` that de-identification leaves (two underscores or more).
    `keep` leaves them, `mask` writes `[deid]` for each, `drop` removes them with the space, hyphen, comma, brackets or full
    stop that they leave without a word."""
    if policy == "keep" or "__" not in text:
        return text
    if policy == "mask":
        return re.sub(r"_{2,}", MASK, text)
    text = re.sub(r"_{2,}(?:'s\b)?-?", "\x00", text).replace("-\x00", "\x00")
    text = re.sub(r"[ ]*[(\[][ ]*(?:\x00[ ,;]*)+[)\]]", "", text)
    text = re.sub(r"(?m)(?<=[.!?:])[ ]*(?:\x00[ ]*)+\.|^(?:\x00[ ]*)+[.,;:]+", "", text)  # a sentence of nothing else
    text = re.sub(r"(?m)(?:[ ]*[,;]?[ ]*\x00)+[ ]*(?=[.,;:!?)\]]|$)", "", text)
    text = re.sub(r"(?m)^[ ]*(?:\x00[ ,;]*)+|(?<=[(\[])[ ]*(?:\x00[ ]*)+", "", text)
    text = re.sub(r"[ ]*(?:\x00[ ]*)+", " ", text)
    return "\n".join(line for part in text.split("\n") if (line := part.strip()))


@lru_cache(maxsize=65536)
def canonical(heading: str) -> str | None:
    """The canonical name of a heading as written, or None.

    Beyond the table: "A/B", "A & B" and "A AND B" by their parts (findings with impression is `findings and impression`;
    with another, findings or impression; else the first); in upper case, one or two words before FINDINGS or IMPRESSION, unless
    they deny it; one word of seven letters or more that is nearly one of the table ("IMPRESSSION", "FINIDNGS").
    """
    key = _key(heading)
    if key in _NAMES:
        return _NAMES[key]
    if key.startswith(("wet read", "addendum")):
        return WET_READ if key.startswith("wet read") else ADDENDUM
    parts = [canonical(part) for part in key.split(" and ")] if " and " in key else []
    if parts and None not in parts:
        if {FINDINGS, IMPRESSION} <= set(parts):
            return COMBINED
        return next((name for name in (FINDINGS, IMPRESSION) if name in parts), parts[0])
    words = key.split(" ")
    if heading == heading.upper() and len(words) in (2, 3) and words[-1] in (FINDINGS, IMPRESSION) and words[0] != "no":
        return "provisional" if words[0] in ("provisional", "preliminary", "wet") else words[-1]
    close = get_close_matches(key, _WORDS, n=1, cutoff=0.85) if len(key) >= 7 and len(words) == 1 else []
    return _NAMES[close[0]] if close else None


@dataclass
class _Block:
    """A heading as written (None: text without one), its canonical name, and its paragraphs."""

    name: str | None
    heading: str | None = None
    title: bool = False
    paragraphs: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def is_prose(self) -> bool:
        return any(len(paragraph.split()) >= 4 and paragraph.endswith((".", "!", "?")) for paragraph in self.paragraphs)

    def written(self) -> list[str]:
        if self.heading is None or not self.paragraphs:
            return self.paragraphs
        return [f"{self.heading}: {self.paragraphs[0]}", *self.paragraphs[1:]]


def _key(heading: str) -> str:
    """A heading as the table writes it: lower-case words, "/" and "&" as "and", without brackets, numbers and punctuation."""
    text = re.sub(r"\([^)]*\)?", " ", heading.lower())
    text = re.sub(r"[/&+]", " and ", text)
    return " ".join(re.sub(r"[^a-z' -]", " ", text).split()).strip(" '-")


def _joined(texts: Iterable[str]) -> str:
    return "\n".join(dict.fromkeys(texts))


def _is_title(line: str) -> bool:
    """Whether an upper-case phrase names an examination: words for views, none for findings."""
    words = line.split()
    return len(words) <= 14 and line == line.upper() and bool(_TITLE.search(line)) and not _VERB.search(line)


def _heading(line: str, previous: str) -> tuple[str, str, str | None, bool] | None:
    """(heading as written, text after it, canonical name, whether a title) of a line, or None."""
    after_blank, ended = not previous, previous[-1:] in ("", ".", "!", "?", ":")
    if found := _COLON.fullmatch(line):
        heading, text = found["heading"].strip(), found["text"].strip()
        name = canonical(heading) if heading[0].isupper() and not _STOP.search(heading) else None
        upper = heading == heading.upper()
        if name and (upper or len(heading.split()) <= 4):
            return heading, text, name, False
        if upper and _is_title(heading):
            return heading, text, EXAMINATION, True
        if upper and len(heading) >= 4 and len(heading.split()) <= 6:
            return heading, text, None, False
    bare = line.strip()
    alone = bare.rstrip(":.").strip()
    name = _NAMES.get(_key(alone)) if alone[:1].isupper() else None
    if name and (ended or alone == alone.upper() or name in (FINDINGS, IMPRESSION)):
        return alone, "", name, False
    if (found := _NO_COLON.fullmatch(line)) and _key(found["heading"]) in _NAMES:
        return found["heading"].strip(), found["text"].strip(), _NAMES[_key(found["heading"])], False
    if after_blank and len(bare) >= 4 and _is_title(bare):
        return bare.rstrip(":"), "", EXAMINATION, True
    return None


def _blocks(lines: list[str]) -> list[_Block]:
    """The blocks of the final report, in order; also those without text."""
    blocks = [_Block(None)]
    paragraph: list[str] = []

    def close() -> None:
        if paragraph:
            if blocks[-1].name in _SHORT and blocks[-1].paragraphs:
                blocks.append(_Block(None))
            blocks[-1].paragraphs.append(" ".join(" ".join(paragraph).split()))
            paragraph.clear()

    def is_open() -> bool:  # headed, but without text: a title is its first words ("AP CHEST COMPARED TO ___:")
        return blocks[-1].name in (FINDINGS, IMPRESSION, COMBINED) and not blocks[-1].paragraphs and not paragraph

    previous = ""
    for line in lines:
        if _RULE.fullmatch(line) or _MARKER.fullmatch(line):
            close()
            if blocks[-1].name in (WET_READ, ADDENDUM) or _MARKER.fullmatch(line):
                blocks.append(_Block(None))
            line = ""
        elif not line.strip():
            close()
        elif (found := _heading(line, previous)) is None or (found[3] and is_open()):
            paragraph.append(line)
        else:
            heading, text, name, title = found
            if name is None:  # a part of the section, or the report itself after a section of one paragraph
                if blocks[-1].name in _SHORT:
                    close()
                    blocks.append(_Block(None))
                blocks[-1].unknown.append(_key(heading))
                paragraph.append(line)
            else:
                close()
                blocks.append(_Block(name, heading, title))
                paragraph.extend([text] if text else [])
                if title and not text:  # a title without text says it all: what follows is not its
                    blocks[-1].paragraphs.append(heading)
                    blocks.append(_Block(None))
        previous = line.strip()
    close()
    return blocks


def _preliminary(lines: list[str]) -> Iterator[_Block]:
    """What stands before the final report: wet reads and addenda, with any headings inside them as text."""
    name: str = PREAMBLE
    words: list[str] = []
    for line in [*lines, "_" * 10]:  # a rule ends a passage
        rule, found = _RULE.fullmatch(line), _heading(line, "")
        if not rule and not (found and found[2] in (WET_READ, ADDENDUM)):
            words.extend(line.split())
            continue
        if words:
            yield _Block(name, paragraphs=[" ".join(words)])
        name, words = (PREAMBLE, []) if rule or not found else (str(found[2]), found[1].split())
