"""Noun phrases and numbers: how a finding is named, how its size is rounded, what article it takes."""

import re
from dataclasses import dataclass

import numpy as np

from medim.data.phantom.v2.findings import Finding, is_graded
from medim.data.phantom.v2.names import side_of

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_AN = re.compile(r"(?:[aeiou]|h&e|8|11 |18 |11\.|18\.)")
_SPACES = re.compile(r" {2,}")


@dataclass(frozen=True)
class Phrase:
    """A noun phrase without its article.

    Attributes:
        text: lower case, as "small left pleural effusion".
        counted: whether the singular takes "a" or "an" ("consolidation" does not).
        plural: whether its verb does.
    """

    text: str
    counted: bool = True
    plural: bool = False

    @property
    def indefinite(self) -> str:
        """With "a" or "an" where it takes one."""
        if self.plural or not self.counted:
            return self.text
        return f"{'an' if _AN.match(self.text) else 'a'} {self.text}"

    @property
    def definite(self) -> str:
        """With "the"."""
        return f"the {self.text}"


def pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
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


def millimetres(size: float, rng: np.random.Generator) -> str:
    """A size as a radiologist gives it: whole millimetres, or centimetres to one decimal, three times in ten from 10 mm.

    From 40 mm on, to the next 5 mm.
    """
    whole = round(size) if size < 40 else 5 * round(size / 5)
    if whole >= 10 and rng.random() < 0.3:
        return f"{whole / 10:g} cm"
    return f"{whole} mm"


def micrometres(size: float, rng: np.random.Generator) -> str:
    """A size as a pathologist gives it: to the next 5 micrometres, or 10 from 100 on."""
    step = 5 if size < 100 else 10
    return f"{step * round(size / step)} {pick(rng, ('micrometres', 'microns'))}"


def measure(finding: Finding, pathology: bool, rng: np.random.Generator) -> str:
    """The finding's size in the unit of its domain, rounded."""
    return (micrometres if pathology else millimetres)(finding.size, rng)


def joined(items: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"


@dataclass(frozen=True)
class Wording:
    """How one kind of finding is worded; slots in braces.

    Slots: `sev` (a word of severity or nothing), `side`, `zone`, `where` ("left mid zone", "left lung"), `size` (rounded, with
    unit), `n` (a number word).

    Attributes:
        severity: words for mild, moderate and severe; empty where the finding has no degrees.
        full: noun phrases with all that is known.
        plural: the same for more than one of it; empty where a count does not apply.
        short: noun phrases to refer back to it.
        short_plural: the same for more than one.
        present: whole sentences that assert it, beside those made from the noun phrases.
        open: whole sentences that leave it open.
        counted: whether the singular takes an article.
        grows, shrinks: what it has done where it is more or less than before.
        more, less: how it compares where it is more or less than before.
        gone: what has become of one that is absent now.
        absent: names under which it is denied.
    """

    full: tuple[str, ...]
    short: tuple[str, ...]
    absent: tuple[str, ...]
    severity: tuple[tuple[str, ...], ...] = ((), (), ())
    plural: tuple[str, ...] = ()
    short_plural: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    counted: bool = True
    grows: tuple[str, ...] = ("increased",)
    shrinks: tuple[str, ...] = ("decreased",)
    more: tuple[str, ...] = ("larger",)
    less: tuple[str, ...] = ("smaller",)
    gone: tuple[str, ...] = ("resolved", "cleared")


SEVERITY_SAID = 0.75  # share of noun phrases with a word of severity where the template has room for one


def slots(finding: Finding, wording: Wording, pathology: bool, rng: np.random.Generator) -> dict[str, str]:
    """What fills the braces of a template for this finding."""
    level = ("mild", "moderate", "severe").index(finding.severity)
    words = wording.severity[level]
    severity = pick(rng, words) if words and is_graded(finding.label) and rng.random() < SEVERITY_SAID else ""
    side = side_of(finding.label) or ""
    return {
        "sev": severity,
        "sevly": {"mild": "mildly", "moderate": "moderately", "severe": "markedly"}[finding.severity] if severity else "",
        "side": side,
        "zone": f"{finding.zone} zone" if finding.zone else "",
        "where": f"{side} {finding.zone} zone" if finding.zone else f"{side} lung",
        "size": measure(finding, pathology, rng),
        "n": count_word(finding.count),
    }


def name(finding: Finding, wording: Wording, pathology: bool, rng: np.random.Generator, short: bool = False) -> Phrase:
    """A noun phrase for the finding; `short` for one that has been named before."""
    many = finding.count > 1 and bool(wording.plural)
    options = (wording.short_plural if many else wording.short) if short else (wording.plural if many else wording.full)
    text = tidy(pick(rng, options).format(**slots(finding, wording, pathology, rng)))
    return Phrase(text, wording.counted, many)
