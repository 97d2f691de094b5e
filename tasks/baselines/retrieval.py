"""Nearest neighbours for the retrieval baseline: among feature vectors, and among texts."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_WORD = re.compile(r"\w+")
_BLOCK = 1 << 16


def nearest(queries: np.ndarray, references: np.ndarray) -> list[int]:
    """For each of the queries (Q, D) the row of the reference (N, D) of largest cosine; of equal ones the first."""
    queries = _normalised(queries.astype(np.float32))
    best, rows = np.full(len(queries), -np.inf, np.float32), np.zeros(len(queries), np.int64)
    for start in range(0, len(references), _BLOCK):
        cosine = queries @ _normalised(references[start : start + _BLOCK].astype(np.float32)).T  # (Q, block)
        row = cosine.argmax(axis=1)
        value = cosine[np.arange(len(queries)), row]
        better = value > best
        best, rows = np.where(better, value, best), np.where(better, start + row, rows)
    return rows.tolist()


class TfIdf:
    """Texts as weights of their words and word pairs, and the nearest of them to another text. weight(g, text) = (1 + ln tf) ·
    (1 + ln((1 + N) / (1 + df(g)))), each text of length 1; nearness is the cosine. `texts`: N texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [_grams(text) for text in texts]
        frequency = Counter(gram for grams in counted for gram in grams)
        self._texts = len(texts)
        self._rarity = {gram: 1 + math.log((1 + len(texts)) / (1 + count)) for gram, count in frequency.items()}
        postings: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
        for row, grams in enumerate(counted):
            for gram, weight in self._weights(grams).items():
                postings[gram][0].append(row)
                postings[gram][1].append(weight)
        self._postings = {gram: (np.array(rows), np.array(weights)) for gram, (rows, weights) in postings.items()}

    def nearest(self, text: str) -> int:
        """Number of the text of largest cosine; of equal ones the first."""
        cosine = np.zeros(self._texts)
        for gram, weight in self._weights(_grams(text)).items():
            if gram in self._postings:
                rows, weights = self._postings[gram]
                cosine[rows] += weight * weights
        return int(np.round(cosine, 12).argmax())

    def _weights(self, grams: Counter[str]) -> dict[str, float]:
        unseen = 1 + math.log(1 + self._texts)
        weights = {gram: (1 + math.log(count)) * self._rarity.get(gram, unseen) for gram, count in grams.items()}
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        return {gram: weight / length for gram, weight in weights.items()}


def _grams(text: str) -> Counter[str]:
    words = _WORD.findall(text.lower())
    return Counter([*words, *(f"{first} {second}" for first, second in pairwise(words))])


def _normalised(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
