"""Whether reports were copied from a training set: whole ones, and runs of eight words.
Texts are compared as sequences of words, case and punctuation apart, through 64-bit hashes: no training text is stored. Some
pair of N training and Q queried 8-grams collides with probability of about N Q / 2^64: 1e-5 for 6e7 and 3e6."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import sparse

ORDER = 8
NO_TEXT = 0  # the key of a missing report, or one without a word

_WORD = re.compile(r"\w+")
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that its powers modulo 2^64 never vanish


def words(text: str) -> list[str]:
    """Letters and digits between anything else, in lower case."""
    return _WORD.findall(text.casefold())


def number_of(text: str) -> int:
    """64 bits of a text, never `NO_TEXT`; equal in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1


@lru_cache(maxsize=1 << 18)
def _word_number(word: str) -> int:
    return number_of(word)


_POWERS = np.array([pow(_MULTIPLIER, exponent, 1 << 64) for exponent in range(ORDER)], dtype=np.uint64)


@dataclass(frozen=True)
class Hashed:
    """N texts as numbers."""

    whole: np.ndarray  # (N,) uint64, of the whole text; `NO_TEXT` where there is none
    rows: np.ndarray  # (G,) int64, the text of each 8-gram, ascending
    grams: np.ndarray  # (G,) uint64, the 8-grams in the order of the text: sum_i w_i m^i mod 2^64 of the words w_0..w_7

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> "Hashed":
        split = [words(text or "") for text in texts]
        whole = np.array([number_of(" ".join(line)) if line else NO_TEXT for line in split], dtype=np.uint64)
        grams = [_grams(line) for line in split]
        rows = np.repeat(np.arange(len(split)), [len(each) for each in grams])
        return cls(whole, rows, np.concatenate(grams) if grams else np.zeros(0, dtype=np.uint64))

    def __len__(self) -> int:
        return len(self.whole)


def _grams(line: list[str]) -> np.ndarray:
    if len(line) < ORDER:
        return np.zeros(0, dtype=np.uint64)
    numbers = np.fromiter((_word_number(word) for word in line), dtype=np.uint64, count=len(line))
    return (np.lib.stride_tricks.sliding_window_view(numbers, ORDER) * _POWERS).sum(axis=1, dtype=np.uint64)


@dataclass(frozen=True)
class Copied:
    """What of Q reports is in the training reports."""

    verbatim: np.ndarray  # (Q,) bool: the whole report is one of them
    # (Q,) float64: of its 8-grams that occur in any of them; below 8 words 1 where it is verbatim, else 0. NaN where there is
    # no report
    share: np.ndarray
    longest: np.ndarray  # (Q,) int64: most consecutive words all of whose 8-grams occur there
    # (Q,) int64: the equal training report, else the first that shares most distinct 8-grams; -1 where none does
    rows: np.ndarray


@dataclass(frozen=True)
class TextRows:
    """A block of consecutive training reports: index of the first, the reports, and (B,) whose each is, as numbers."""

    start: int
    texts: Hashed
    patients: np.ndarray


def copied(queries: Hashed, training: Iterable[TextRows], *, patients: np.ndarray | None = None) -> Copied:
    """Looks for Q reports in training reports, block by block; those of the same patient, (Q,), are left out."""
    count = len(queries)
    known, place = np.unique(queries.grams, return_inverse=True)  # (K,), (G,)
    wanted = _binary(queries.rows, place, (count, len(known)))
    seen = np.zeros(len(place), dtype=bool)
    equal, rows, most = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for block in training:
        same_patient = np.zeros((count, len(block.texts)), dtype=bool)
        if patients is not None:
            same_patient = patients[:, None] == block.patients
        same = (queries.whole[:, None] == block.texts.whole) & (queries.whole != NO_TEXT)[:, None] & ~same_patient  # (Q, B)
        first = (equal < 0) & same.any(axis=1)
        equal[first] = block.start + same[first].argmax(axis=1)
        here = _looked_up(block.texts, known)  # (B, K)
        seen |= _seen(here, same_patient, queries.rows, place)
        if here.nnz:
            shared = np.where(same_patient, 0, (wanted @ here.T).toarray())  # (Q, B)
            best = shared.argmax(axis=1)
            number = shared[np.arange(count), best]
            more = number > most
            most, rows = np.where(more, number, most), np.where(more, block.start + best, rows)
    lengths = np.bincount(queries.rows, minlength=count)
    share = np.bincount(queries.rows, weights=seen, minlength=count) / np.maximum(lengths, 1)
    share = np.where(lengths > 0, share, equal >= 0)
    share = np.where(queries.whole == NO_TEXT, np.nan, share)
    return Copied(equal >= 0, share, _longest(queries, seen), np.where(equal >= 0, equal, rows))


def _seen(here: sparse.csr_matrix, same_patient: np.ndarray, rows: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Which of the queries' 8-grams, of texts `rows` and numbers `place` (G,), a block has for other patients."""
    found = (np.asarray(here.sum(axis=0)).ravel() > 0)[place]
    for query in np.flatnonzero(same_patient.any(axis=1)):
        mine = rows == query
        found[mine] = (np.asarray(here[~same_patient[query]].sum(axis=0)).ravel() > 0)[place[mine]]
    return found


def _binary(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """1 at each of these places, however often it is named."""
    made = sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape)
    made.data[:] = 1
    return made


def _looked_up(block: Hashed, known: np.ndarray) -> sparse.csr_matrix:
    """Which of the sorted `known` 8-grams (K,) each text of a block has: 0 or 1, (B, K)."""
    if not len(known):
        return sparse.csr_matrix((len(block), 0), dtype=np.int32)
    place = np.minimum(np.searchsorted(known, block.grams), len(known) - 1)
    hit = known[place] == block.grams
    return _binary(block.rows[hit], place[hit], (len(block), len(known)))


def _longest(queries: Hashed, seen: np.ndarray) -> np.ndarray:
    """Words of the longest run of consecutive seen 8-grams, by text."""
    longest = np.zeros(len(queries), dtype=np.int64)
    ends = np.flatnonzero(np.diff(np.r_[0, np.where(seen, queries.rows + 1, 0), 0]))
    for first, last in pairwise(ends):
        if seen[first]:
            text = queries.rows[first]
            longest[text] = max(longest[text], last - first + ORDER - 1)
    return longest
