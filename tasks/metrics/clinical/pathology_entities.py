"""Caption-entity F1 (term list v2): which organs, tissues, diagnoses, cells and patterns a pathology caption names or denies.

The longest form at a place counts, with or without a plural ending. A term is *denied* where a word of denial stands before it
in its statement, or a closing one after it; an organ never is, nor what stands behind "normal": "absence of normal lung tissue"
denies "normal" alone. "No atypia" and "atypia" are two entities; doubt is not read. A caption's entities are a set; hits, false
alarms and misses are added up over captions. It measures shared vocabulary: a term that the list lacks does not count.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tasks.metrics.clinical import statements
from tasks.metrics.clinical.terms import either, read_terms, rules_hash
from tasks.metrics.statistics.additive import Additive

NAME = "caption-entity F1 (term list v2)"
NORMAL, ORGAN = "normal", "organ"


class Entity(NamedTuple):
    """A term of the list, by its canonical form, and whether the caption denies it."""

    category: str
    term: str
    denied: bool


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Hash of the term list and of the rules that read it."""
    return rules_hash((statements, sys.modules[__name__]), ("pathology_terms", "statement_words"))


@lru_cache(maxsize=1 << 15)
def entities(caption: str) -> frozenset[Entity]:
    """The entities of one caption."""
    clauses = _CLAUSES.split(" ".join(caption.lower().split()))
    return frozenset(entity for clause in clauses for said in statements.statements(clause) for entity in _read(said))


def _read(statement: str) -> Iterator[Entity]:
    forms, pattern = _forms()
    closing = list(_DENIALS_AFTER.finditer(statement))
    inside = {place for match in closing for place in range(*match.span())}  # the "not" of "is not visible"
    denials = [match.start() for match in _DENIALS.finditer(statement) if match.start() not in inside]
    normal = 0
    for match in pattern.finditer(statement):
        category, term = forms[match["form"]]
        denied = any(normal <= place < match.start() for place in denials)
        denied = denied or _ABSENT.search(statement, normal, match.start()) is not None
        denied = denied or (term == NORMAL and statement.endswith("loss of ", 0, match.start()))
        denied = denied or any(end.start() >= match.end() for end in closing)
        if term == NORMAL:
            normal = match.end()
        yield Entity(category, term, denied and category != ORGAN)


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


def _any(words: Sequence[str]) -> str:
    return either(re.escape(word) for word in sorted(words, key=len, reverse=True))


@lru_cache(maxsize=1)
def _forms() -> tuple[dict[str, tuple[str, str]], re.Pattern[str]]:
    """Category and canonical term of each form, and the expression that finds the forms."""
    forms: dict[str, tuple[str, str]] = {}
    for category, terms in _TERMS["terms"].items():
        for term, others in terms.items():
            for form in (term, *others):
                if forms.setdefault(form, (category, term)) != (category, term):
                    raise ValueError(f"the term list has '{form}' twice")
    return forms, re.compile(rf"(?<![\w-])(?P<form>{_any(list(forms))})(?:s|es)?(?![\w-])")


_TERMS = read_terms("pathology_terms")
_DENIALS = re.compile(rf"\b(?:{_any(_TERMS['denials'])})\b")
_ABSENT = re.compile(r"\babsent\b(?:(?!,| and ).)*$")
"""Denies the next noun alone, not a list."""
_DENIALS_AFTER = re.compile(rf"\b(?:{_any(_TERMS['denials_after'])})\b")
_LEADING_ON = r"(?<!\bof)(?<!\bin)(?<!\bto)(?<!\bon)(?<!\bor)(?<!\band)(?<!\bthat)(?<!\bfrom)(?<!\bwith)(?<!\bwithin)"
_CLAUSES = re.compile(
    rf"[.;:!?]|\b(?:{_any(_TERMS['clause_ends'])})\b"
    rf"|{_LEADING_ON} (?=the \w+(?: \w+)? (?:is|are|shows?|contains?|appears?)\b)"  # generated text without commas
)
