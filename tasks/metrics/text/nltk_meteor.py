"""METEOR as NLTK computes it (Lavie and Agarwal 2007): a value of its own, not that of METEOR 1.5.

Words are matched exactly, then by stem, then by WordNet synonyms. The first two are here; synonyms need WordNet, which comes
with neither this package nor NLTK, so that without it the metric bears another name.
"""

import os
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

from tasks.metrics.text.porter import stem

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
Synonyms = Callable[[str], Collection[str]]
_Words = list[tuple[int, str]]  # place and word


def nltk_meteor(reference: Sequence[str], hypothesis: Sequence[str], synonyms: Synonyms | None = None) -> float:
    """METEOR of one pair of token lists, in [0, 1): identical texts of n words get 1 - 1 / (2 n^3), never 1.

        F = P R / (a P + (1 - a) R);  score = (1 - g (chunks / matches)^b) F     a = 0.9, b = 3, g = 0.5

    Args:
        synonyms: of a word, all that WordNet lists with it (`wordnet_synonyms`); None: words match exactly or by stem only.
            Both sides are stems by then, as they are in NLTK, so that few synonyms are found.
    """
    ours, theirs = [list(enumerate(word.lower() for word in words)) for words in (hypothesis, reference)]
    matches: list[tuple[int, int]] = []
    for form in (str, stem):
        ours, theirs = [[(place, form(word)) for place, word in words] for words in (ours, theirs)]
        ours, theirs = _match(ours, theirs, lambda word: (word,), matches)
    if synonyms is not None:
        _match(ours, theirs, lambda word: {*synonyms(word), word}, matches)
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(hypothesis), len(matches) / len(reference)
    f = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return (1 - GAMMA * (_chunks(sorted(matches)) / len(matches)) ** BETA) * f


def wordnet_synonyms() -> Synonyms | None:
    """Synonyms from NLTK's WordNet; None where NLTK or the data is not installed.

    The data is looked for where NLTK_DATA points, and in NLTK's usual folders; nothing is downloaded.
    """
    if find_spec("nltk") is None:
        return None
    from nltk import data
    from nltk.corpus import wordnet

    data.path[:0] = [folder for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if Path(folder).is_dir() and folder]
    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError, BadZipFile):  # missing, unreadable or damaged
        return None
    return lambda word: {
        lemma.name() for synset in wordnet.synsets(word) for lemma in synset.lemmas() if "_" not in lemma.name()
    }


def _match(
    ours: _Words, theirs: _Words, forms: Callable[[str], Collection[str]], matches: list[tuple[int, int]]
) -> tuple[_Words, _Words]:
    """Matches from the last word to the first, each to the last of the other side that is left; returns what is left.

    On a tie no alignment with fewer crossings is sought: so NLTK does, whatever its documentation says.
    """
    free: dict[str, list[int]] = {}
    for index, (_, word) in enumerate(theirs):
        free.setdefault(word, []).append(index)
    used_ours, used_theirs = set(), set()
    for index in reversed(range(len(ours))):
        places = [free[form][-1] for form in forms(ours[index][1]) if free.get(form)]
        if places:
            place = max(places)
            free[theirs[place][1]].pop()
            used_ours.add(index)
            used_theirs.add(place)
            matches.append((ours[index][0], theirs[place][0]))
    return (
        [item for index, item in enumerate(ours) if index not in used_ours],
        [item for index, item in enumerate(theirs) if index not in used_theirs],
    )


def _chunks(matches: Sequence[tuple[int, int]]) -> int:
    """Runs of matches that follow each other on both sides."""
    return 1 + sum((after[0] - before[0], after[1] - before[1]) != (1, 1) for before, after in pairwise(matches))
