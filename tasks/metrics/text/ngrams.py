"""n-grams of texts as sorted integer arrays, so that overlap of thousands of reports is a few array operations. The references
are counted once (`References`); the texts of any number of systems are then looked up in what is known of them."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from medim.common.files import write_json
from tasks.metrics.text.tokens import Tokenised

ORDERS = 4
_WORD_BITS = 31  # an n-gram's key is the id of its first n - 1 words, shifted, and the id of its last
_CACHED = 8  # sets of references: a run has one, of each of few protocols


@dataclass(frozen=True)
class Grams:
    """The n-grams of one order in N texts, sorted by text and id: int64 (M,) text, n-gram, count.
    Ids beyond those of `References.known` are of no reference."""

    rows: np.ndarray
    ids: np.ndarray
    counts: np.ndarray

    def per_text(self, weights: np.ndarray, texts: int) -> np.ndarray:
        """Weights (M,) added up by text: float64 (texts,)."""
        return np.bincount(self.rows, weights=weights, minlength=texts)


@dataclass(frozen=True)
class Counted:
    """Of N texts: tokens (N,), and n-grams of orders 1 to 4."""

    lengths: np.ndarray
    grams: tuple[Grams, ...]


@dataclass(frozen=True)
class Documents:
    """In how many of `n` cases' references an n-gram stands: n-grams as space-separated tokens, and counts (G,).
    Those that are not here stand in one at most."""

    n: int
    texts: tuple[str, ...]
    counts: np.ndarray


class References:
    """Tokenised reference texts, counted.
    `texts`: M texts, as space-separated tokens: those of the first of N cases, then those of the second, ...
    `tokenisation`: for signatures.
    `sources`: the texts before tokenisation; by default the tokens themselves.
    `per_case`: how many texts each case has, N numbers above 0; one each by default.
    `documents`: the set whose frequencies weigh the n-grams; by default these references.
    `every`: the M texts.
    `texts`, `sources`: the first of each case, N.
    `first`: place of that among the M, (N,).
    `known`: by order, the sorted keys of the references' n-grams; an n-gram's id is its place there."""

    def __init__(
        self,
        texts: Sequence[str],
        tokenisation: str = "none",
        sources: Sequence[str] | None = None,
        per_case: Sequence[int] | None = None,
        documents: Documents | None = None,
    ) -> None:
        self.every, self.documents = tuple(texts), documents
        self._sources = tuple(sources or texts)
        self.per_case = np.array([1] * len(texts) if per_case is None else per_case, dtype=np.int64)
        self.first = np.cumsum(self.per_case) - self.per_case
        self.texts, self.sources = (tuple(some[at] for at in self.first) for some in (texts, self._sources))
        self.tokenisation = tokenisation
        self.words: dict[str, int] = {}
        self.known: list[np.ndarray] = []

        def learn(order: int, keys: np.ndarray) -> np.ndarray:
            known, ids = np.unique(keys, return_inverse=True)
            self.known.append(known)
            return ids

        known = self.every if documents is None else (*self.every, *documents.texts)
        self.counted = self._frequent = _counted(known, self.words, learn)
        if documents is not None:  # its n-grams were counted as further texts
            rows = [grams.rows < len(self.every) for grams in self.counted.grams]
            mine = [Grams(g.rows[at], g.ids[at], g.counts[at]) for g, at in zip(self.counted.grams, rows, strict=True)]
            self.counted = Counted(self.counted.lengths[: len(self.every)], tuple(mine))

    def weighted(self, documents: Documents) -> "References":
        """The same references, with the frequencies of another set."""
        return References(self.every, self.tokenisation, self._sources, self.per_case.tolist(), documents)

    def shared(self) -> Documents:
        """The n-grams that stand in the references of two cases or more."""
        names, prefixes, counts = list(self.words), [""], dict[str, int]()
        for known, frequencies in zip(self.known, self.frequencies, strict=True):
            words = [names[id & (1 << _WORD_BITS) - 1] for id in known.tolist()]
            prefixes = [f"{prefixes[id >> _WORD_BITS]} {word}" for id, word in zip(known.tolist(), words, strict=True)]
            counts |= {prefixes[at][1:]: int(frequencies[at]) for at in np.flatnonzero(frequencies > 1)}
        texts = sorted(counts)  # not in the order in which the reports have them
        return Documents(len(self), tuple(texts), np.array([counts[text] for text in texts], dtype=np.float64))

    @property
    def corpus(self) -> int:
        """Number of cases whose references the frequencies are of."""
        return len(self) if self.documents is None else self.documents.n

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def most(self) -> int:
        """The largest number of references of one case."""
        return int(self.per_case.max(initial=1))

    def place(self, number: int) -> np.ndarray:
        """Of each case, where its reference of this number is among the M; of a case with fewer, its last: (N,)."""
        return self.first + np.minimum(number, self.per_case - 1)

    def of_case(self, row: int) -> slice:
        """Where the references of a case are among the M."""
        return slice(self.first[row], self.first[row] + self.per_case[row])

    def count(self, texts: Sequence[str]) -> Counted:
        """Counts of other texts, in the ids of these references."""
        return _counted(texts, dict(self.words), lambda order, keys: _lookup(self.known[order - 1], keys))

    @cached_property
    def frequencies(self) -> tuple[np.ndarray, ...]:
        """In the references of how many cases each n-gram occurs, float64 by id, for orders 1 to 4."""
        if self.documents is not None:
            return tuple(self._in_documents(order) for order in range(1, ORDERS + 1))
        cases = np.repeat(np.arange(len(self)), self.per_case)
        return tuple(
            np.bincount(_grams(cases[grams.rows], grams.ids).ids, minlength=len(known)).astype(np.float64)
            for grams, known in zip(self.counted.grams, self.known, strict=True)
        )

    def _in_documents(self, order: int) -> np.ndarray:
        """Frequencies of one order by id, where the documents state them."""
        assert self.documents is not None
        grams, mine = self._frequent.grams[order - 1], len(self.every)
        stated = np.flatnonzero((grams.rows >= mine) & (self._frequent.lengths[grams.rows] == order))
        frequencies = np.zeros(len(self.known[order - 1]))
        frequencies[grams.ids[stated]] = self.documents.counts[grams.rows[stated] - mine]
        return frequencies

    @cached_property
    def positions(self) -> tuple[dict[str, int], ...]:
        """Of each of the M, the places of each of its words, as bits of an integer (`overlap.common_length`)."""
        found: list[dict[str, int]] = []
        for text in self.every:
            places: dict[str, int] = {}
            for place, word in enumerate(text.split(" ")):
                places[word] = places.get(word, 0) | 1 << place
            found.append(places)
        return tuple(found)

    def matches(self, hypotheses: Grams, order: int, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Where n-grams of text i are in the reference of case i of a number, too: indices into `hypotheses` and into the
        references' grams."""
        ours = self.counted.grams[order - 1]
        if not len(ours.rows) or not len(hypotheses.rows):
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing
        width = int(max(ours.ids.max(), hypotheses.ids.max())) + 1
        keys, wanted = ours.rows * width + ours.ids, self.place(number)[hypotheses.rows] * width + hypotheses.ids
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hit = np.flatnonzero(keys[place] == wanted)
        return hit, place[hit]


class ReferenceCache:
    """Caches the last few sets of references for the other systems on the same cases. `folder`: where tokens outlive the
    process, for texts tokenised by the same code; None: nowhere. `misses`: how often references had to be tokenised."""

    def __init__(self, folder: Path | None = None) -> None:
        self._cached: OrderedDict[str, References] = OrderedDict()
        self._folder = folder
        self.misses = 0

    def get(
        self, texts: Sequence[str | tuple[str, ...]], protocol: str, prepare: Callable[[Sequence[str]], Tokenised]
    ) -> References:
        """The references of raw `texts`, one or several a case, tokenised by `prepare` unless they are cached."""
        groups = [(text,) if isinstance(text, str) else text for text in texts]
        joined = "\x1e".join([protocol, *map("\x1d".join, groups)])
        key = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
        if key not in self._cached:
            every = [text for group in groups for text in group]
            tokens = self._tokens(key, every, prepare)
            self._cached[key] = References(tokens.texts, tokens.tokenisation, every, [len(group) for group in groups])
            while len(self._cached) > _CACHED:
                self._cached.popitem(last=False)
        self._cached.move_to_end(key)
        return self._cached[key]

    def _tokens(self, key: str, texts: Sequence[str], prepare: Callable[[Sequence[str]], Tokenised]) -> Tokenised:
        """From the folder, else by `prepare` and written there."""
        file = None if self._folder is None else self._folder / f"{key[:32]}.json"
        if file is not None and file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            return Tokenised(content["texts"], content["tokenisation"])
        self.misses += 1
        tokens = prepare(texts)
        if file is not None:
            write_json(file, {"texts": list(tokens.texts), "tokenisation": tokens.tokenisation})
        return tokens


def _counted(texts: Sequence[str], words: dict[str, int], identify: Callable[[int, np.ndarray], np.ndarray]) -> Counted:
    """Counts of all orders; new words are added to `words`, `identify` gives the ids of an order's keys."""
    split = [text.split() for text in texts]
    lengths = np.array([len(tokens) for tokens in split], dtype=np.int64)
    tokens = np.array([words.setdefault(token, len(words)) for line in split for token in line], dtype=np.int64)  # (T,)
    rows = np.repeat(np.arange(len(split)), lengths)  # (T,) text of each token
    starts, ids, grams = np.arange(len(tokens)), identify(1, tokens), []
    for order in range(1, ORDERS + 1):
        if order > 1:
            last = starts + order - 1
            inside = np.flatnonzero(last < len(tokens))
            inside = inside[rows[last[inside]] == rows[starts[inside]]]
            starts, ids = starts[inside], identify(order, ids[inside] << _WORD_BITS | tokens[last[inside]])
        grams.append(_grams(rows[starts], ids))
    return Counted(lengths, tuple(grams))


def _lookup(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Place of each key among the known ones; keys that are not there are numbered on from their number."""
    if not len(known):
        return np.unique(keys, return_inverse=True)[1]
    ids = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    strange = known[ids] != keys
    ids[strange] = len(known) + np.unique(keys[strange], return_inverse=True)[1]
    return ids


def _grams(rows: np.ndarray, ids: np.ndarray) -> Grams:
    width = int(ids.max(initial=0)) + 1
    keys, counts = np.unique(rows * width + ids, return_counts=True)
    return Grams(keys // width, keys % width, counts)
