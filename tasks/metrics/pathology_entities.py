"""Caption-entity F1 (term list v1): which organs, tissues, diagnoses, cells and patterns a pathology caption names or denies.

The longest form at a place counts, with or without a plural ending, in any case of letters; a term is *denied* where a word of
denial stands before it in its clause, or a closing one after it. "No atypia" and "atypia" are two entities, and "suggests
carcinoma" is the same one as "carcinoma": doubt is not read. A caption's entities are a set; hits, false alarms and misses are
added up over captions. It measures shared vocabulary, not correctness: a term that the list lacks does not count.
"""

import hashlib
import inspect
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tasks.metrics import pathology_terms as terms
from tasks.metrics.additive import Additive
from tasks.metrics.findings import f1

NAME = "caption-entity F1 (term list v1)"


class Entity(NamedTuple):
    """A term of the list, by its canonical form, and whether the caption denies it."""

    category: str
    term: str
    denied: bool


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Hash of the term list and of the rule that reads it."""
    return hashlib.sha256((inspect.getsource(terms) + inspect.getsource(entities)).encode()).hexdigest()[:16]


@lru_cache(maxsize=1 << 15)
def entities(caption: str) -> frozenset[Entity]:
    """The entities of one caption."""
    forms, pattern = _forms()
    found = set()
    for clause in _CLAUSES.split(" ".join(caption.lower().split())):
        closing = list(_DENIALS_AFTER.finditer(clause))
        inside = {place for match in closing for place in range(*match.span())}  # the "not" of "is not visible"
        denials = [match.start() for match in _DENIALS.finditer(clause) if match.start() not in inside]
        for match in pattern.finditer(clause):
            denied = any(place < match.start() for place in denials)
            denied = denied or any(end.start() >= match.end() for end in closing)
            found.add(Entity(*forms[match["form"]], denied))
    return frozenset(found)


def entity_sums(references: Sequence[str], hypotheses: Sequence[str | None]) -> np.ndarray:
    """Entities on both sides, in the hypothesis alone, in the reference alone: float64 (N, 3)."""
    sums = np.zeros((len(references), 3))
    for row, reference, hypothesis in zip(sums, references, hypotheses, strict=True):
        ours, theirs = entities(hypothesis or ""), entities(reference)
        row[:] = len(ours & theirs), len(ours - theirs), len(theirs - ours)
    return sums


def entity_f1(references: Sequence[str], hypotheses: Sequence[str | None], patients: Sequence[str]) -> Additive | None:
    """Micro F1 of entities over captions; None where the references name none."""
    sums = entity_sums(references, hypotheses)
    return Additive(sums, tuple(patients), "micro-f1") if sums[:, [0, 2]].any() else None


def caption_f1(sums: np.ndarray) -> np.ndarray:
    """F1 of each caption alone: (N, 3) -> (N,); 0 where neither side names an entity."""
    return f1(sums[:, :, None])[:, 0]


def _any(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


@lru_cache(maxsize=1)
def _forms() -> tuple[dict[str, tuple[str, str]], re.Pattern[str]]:
    """Category and canonical term of each form, and the expression that finds the forms."""
    forms: dict[str, tuple[str, str]] = {}
    for category, lines in terms.TERMS.items():
        for line in filter(None, map(str.strip, lines.splitlines())):
            term, _, others = line.partition(":")
            for form in [term, *filter(None, map(str.strip, others.split(",")))]:
                if forms.setdefault(form, (category, term)) != (category, term):
                    raise ValueError(f"the term list has '{form}' twice")
    return forms, re.compile(rf"(?<![\w-])(?P<form>{_any(list(forms))})(?:s|es)?(?![\w-])")


_DENIALS = re.compile(rf"\b(?:{_any(terms.DENIALS)})\b")
_DENIALS_AFTER = re.compile(rf"\b(?:{_any(terms.DENIALS_AFTER)})\b")
_CLAUSES = re.compile(rf"[.;:!?]|\b(?:{_any(terms.CLAUSE_ENDS)})\b")
