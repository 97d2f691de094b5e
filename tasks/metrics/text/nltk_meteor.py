"""METEOR as NLTK computes it (Lavie and Agarwal 2007): not comparable with METEOR 1.5. Words match exactly, then by stem, then
by WordNet synonyms. WordNet's data comes with neither this package nor NLTK; without it the metric has another name."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile


class NoSynonyms:
    """Stands for WordNet where its data is not installed: no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        return []


def nltk_meteor(reference: Sequence[str], hypothesis: Sequence[str], wordnet: Any = None) -> float:
    """METEOR of one pair of token lists, in [0, 1): identical texts of n words get 1 - 1 / (2 n^3), never 1.
    `wordnet`: NLTK's reader (`installed_wordnet`); None: words match exactly or by stem only."""
    from nltk.translate.meteor_score import single_meteor_score  # lazy: start-up

    return float(single_meteor_score(reference, hypothesis, stemmer=_stemmer(), wordnet=wordnet or NoSynonyms()))


def installed_wordnet() -> Any:
    """NLTK's WordNet, of a folder of NLTK_DATA or of NLTK's usual ones; None where its data is not there. Downloads nothing."""
    from nltk import data  # lazy: start-up
    from nltk.corpus import wordnet

    data.path[:0] = [folder for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder and Path(folder).is_dir()]
    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError, BadZipFile):  # missing, unreadable or damaged
        return None
    return wordnet


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    """Porter's stemmer in NLTK's mode, each word stemmed once."""
    from nltk.stem.porter import PorterStemmer  # lazy: start-up

    stemmer = PorterStemmer()
    stemmer.stem = lru_cache(maxsize=1 << 16)(stemmer.stem)
    return stemmer
