"""Words and noun phrases: how a finding is named, how its size is rounded, what article it takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medim.common.declared import read_table
from medim.data.phantom.labels import LABELS_BY_DOMAIN, PATHOLOGY, kind_of, side_of
from medim.data.phantom.v2.findings import SEVERITIES, Finding, is_graded

Wordings = tuple[str, ...]
SEVERITY_SAID = 0.75  # share of noun phrases with a word of severity where the template has room for one
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_AN = re.compile(r"(?:[aeiou]|h&e|8|11 |18 |11\.|18\.)")
_SPACES = re.compile(r" {2,}")
_ADVERBS = {"mild": "mildly", "moderate": "moderately", "severe": "markedly"}


@dataclass(frozen=True)
class Wording:
    """How one kind of finding is worded; `words.yaml` explains the slots in braces."""

    full: Wordings  # noun phrases with all that is known
    short: Wordings  # noun phrases to refer back to it
    absent: Wordings  # names under which it is denied
    # words for mild, moderate and severe; empty where the finding has no degrees
    severity: tuple[Wordings, Wordings, Wordings] = ((), (), ())
    # plural, short_plural: noun phrases for more than one of it; empty where a count does not apply
    plural: Wordings = ()
    short_plural: Wordings = ()
    present: Wordings = ()  # whole sentences that assert it, beside those built from the noun phrases
    open: Wordings = ()  # whole sentences that leave it open
    counted: bool = True  # whether the singular takes an article
    # grows, shrinks: what it has done where it is more or less than before
    grows: Wordings = ("increased",)
    shrinks: Wordings = ("decreased",)
    # more, less: how it compares where it is more or less than before
    more: Wordings = ("larger",)
    less: Wordings = ("smaller",)
    gone: Wordings = ("resolved", "cleared")  # what has become of one that is absent now


@dataclass(frozen=True)
class Words:
    """`words.yaml`, where each list is explained."""

    findings: dict[str, Wording]
    both_sides: dict[str, Wordings]
    unlike_sides: dict[str, Wordings]
    short_both: dict[str, Wordings]
    details: dict[str, Wordings]
    conspicuity: dict[str, dict[str, Wordings]]
    frames: dict[str, Wordings]
    course: dict[str, Wordings]
    likely_words: Wordings
    open_words: Wordings
    course_words: dict[str, Wordings]
    since: dict[str, Wordings]
    new_since: dict[str, Wordings]
    before: dict[str, Wordings]
    cellularity: dict[str, Wordings]
    hyper: dict[str, str]
    heart_normal: Wordings
    lungs_clear: Wordings
    lung_clear: Wordings
    angle_clear: Wordings
    no_devices: Wordings
    unchanged_overall: Wordings
    openings: dict[str, Wordings]
    normal: dict[str, Wordings]
    other_anatomy: dict[str, Wordings]
    comparisons: Wordings
    no_comparisons: Wordings


WORDS = read_table(Path(__file__).parents[1] / "words.yaml", Words)


@dataclass(frozen=True)
class Phrase:
    """A noun phrase without its article."""

    text: str  # lower case, as "small left pleural effusion"
    counted: bool = True  # whether the singular takes "a" or "an" ("consolidation" does not)
    plural: bool = False  # whether its verb does

    @property
    def indefinite(self) -> str:
        if self.plural or not self.counted:
            return self.text
        return f"{'an' if _AN.match(self.text) else 'a'} {self.text}"

    @property
    def definite(self) -> str:
        return f"the {self.text}"


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def tidy(text: str) -> str:
    """Without the gaps that empty slots leave."""
    return _SPACES.sub(" ", text).replace(" ,", ",").replace(" .", ".").strip()


def sentence(text: str) -> str:
    """First letter large, one full stop at the end.

    >>> sentence("the heart is enlarged")
    'The heart is enlarged.'
    """
    text = tidy(text)
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def count_word(number: int) -> str:
    """`one` to `six`, `several` beyond."""
    return _NUMBERS[number] if number < len(_NUMBERS) else "several"


def measure(finding: Finding, rng: np.random.Generator) -> str:
    """A finding's size, rounded as a reader gives it. In a patch to the next 5 micrometres, from 100 on to the next 10; in a
    chest to whole millimetres, from 40 on to the next 5, or three times in ten, from 10 mm on, in centimetres."""
    if finding.label in LABELS_BY_DOMAIN[PATHOLOGY]:
        step = 5 if finding.size < 100 else 10
        return f"{step * round(finding.size / step)} {pick(rng, ('micrometres', 'microns'))}"
    whole = round(finding.size) if finding.size < 40 else 5 * round(finding.size / 5)
    if whole >= 10 and rng.random() < 0.3:
        return f"{whole / 10:g} cm"
    return f"{whole} mm"


def joined(items: Sequence[str], last: str = "and") -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"


def slots(finding: Finding, rng: np.random.Generator) -> dict[str, str]:
    """What fills the braces of a template for this finding."""
    words = WORDS.findings[kind_of(finding.label)].severity[SEVERITIES.index(finding.severity)]
    severity = pick(rng, words) if words and is_graded(finding.label) and rng.random() < SEVERITY_SAID else ""
    side = side_of(finding.label) or ""
    return {
        "sev": severity,
        "sevly": _ADVERBS[finding.severity] if severity else "",
        "side": side,
        "zone": f"{finding.zone} zone" if finding.zone else "",
        "where": f"{side} {finding.zone} zone" if finding.zone else f"{side} lung",
        "size": measure(finding, rng),
        "n": count_word(finding.count),
    }


def name(finding: Finding, rng: np.random.Generator, short: bool = False) -> Phrase:
    """A noun phrase for the finding; `short` for one that has been named before."""
    wording = WORDS.findings[kind_of(finding.label)]
    many = finding.count > 1 and bool(wording.plural)
    options = (wording.short_plural if many else wording.short) if short else (wording.plural if many else wording.full)
    text = tidy(pick(rng, options).format(**slots(finding, rng)))
    return Phrase(text, wording.counted, many)
