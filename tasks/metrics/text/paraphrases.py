"""METEOR's paraphrase table, trimmed to the words of a corpus: some ten thousand of 5.3 million pairs.

The jar reads its table before it scores, which takes nearly all of its time: 13 s, and 2 s with the trimmed table. A pair of
phrases can only match where every word of both occurs in the texts, so that scores do not change. The table is indexed once, in
the user's cache, under the SHA-256 of the jar's file.
"""

import gzip
import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medim.common.files import home
from medim.common.locks import locked

VERSION = 1
NAME = "meteor-paraphrases"
CACHE_FOLDER = "MEDIM_BENCH_CACHE"
_PIECE = re.compile(r"[^\W_]+")
_MARK = re.compile(r"[\W_]+")


def cache_folder() -> Path:
    """MEDIM_BENCH_CACHE, or medim-bench in the user's cache."""
    if given := os.environ.get(CACHE_FOLDER):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "medim-bench"


_ARRAYS = ("words", "phrases", "begin", "first", "members", "pairs", "probabilities")


class Paraphrases:
    """The table as arrays: P phrases of W different words, and R pairs of them. `words`: (W,) bytes. `phrases`: the P phrases'
    bytes, each with its line break; phrase p is `phrases[begin[p] : begin[p + 1]]`. `first`, `members`: words of phrase p are
    `members[first[p] : first[p + 1]]`. `pairs`: int32 (R, 2); probabilities: float64 (R,)."""

    def __init__(self, folder: Path) -> None:
        self.words, self.phrases, self.begin, self.first, self.members, self.pairs, self.probabilities = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
        )

    def select(self, words: Iterable[str]) -> np.ndarray:
        """Indices of the pairs all of whose words are among these."""
        given = {word.encode() for word in words}
        known = np.array([word in given for word in self.words.tolist()])
        phrase = np.logical_and.reduceat(known[self.members], self.first[:-1])
        return np.flatnonzero(phrase[self.pairs[:, 0]] & phrase[self.pairs[:, 1]])

    def write(self, path: Path, rows: np.ndarray) -> None:
        """The chosen pairs in the jar's format: gzip, three lines a pair."""
        records: list[bytes] = []
        for (source, target), probability in zip(self.pairs[rows].tolist(), self.probabilities[rows].tolist(), strict=True):
            records += (b"%a\n" % probability, self._phrase(source), self._phrase(target))
        path.write_bytes(gzip.compress(b"".join(records), compresslevel=1))

    def _phrase(self, number: int) -> bytes:
        return self.phrases[self.begin[number] : self.begin[number + 1]].tobytes()


def vocabulary(texts: Iterable[str]) -> set[str]:
    """Every word that the jar may see in the texts, whatever its normaliser splits off or joins."""
    tokens = {token for text in texts for token in text.lower().split()}
    words = set(tokens)
    for token in tokens:
        if not token.isalnum():
            words.update(_PIECE.findall(token))
            words.add(_MARK.sub("", token))
    return words - {""}


@lru_cache(maxsize=1)
def table(source: Path) -> Paraphrases:
    """The table of the jar's file, from its index, which is built at the first use in some ten seconds.
    A second process waits for the first; what a killed one left is removed.
    Raises OSError: the file, or the user's cache, cannot be read or written."""
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    folder = cache_folder() / f"{NAME}-v{VERSION}-{digest}"
    if not folder.is_dir() or any(folder.parent.glob(f".{NAME}*.*/")):
        with locked(folder.parent / f".{NAME}.lock"):
            for left in folder.parent.glob(f".{NAME}*.*/"):
                shutil.rmtree(left)
            if not folder.is_dir():
                _build(folder, source)
    return Paraphrases(folder)


def _build(folder: Path, source: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.building")
    temporary.mkdir()
    try:
        for name, array in _indexed(source).items():
            np.save(temporary / f"{name}.npy", array)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _indexed(source: Path) -> dict[str, np.ndarray]:
    data = gzip.decompress(source.read_bytes())
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
    count = len(ends) // 3 * 3
    begin = np.concatenate([[0], ends[:count]]).astype(np.int64)
    lines = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(begin), pa.py_buffer(data)])
    place = np.arange(count)
    numbers = pc.utf8_rtrim_whitespace(lines.take(pa.array(place[::3])).cast(pa.large_string()))
    phrases = lines.take(pa.array(place[place % 3 != 0])).dictionary_encode()  # in the order source, target
    unique = phrases.dictionary
    split = pc.split_pattern(pc.utf8_rtrim_whitespace(unique.cast(pa.large_string())), " ")
    words = split.flatten().dictionary_encode()
    texts = np.frombuffer(unique.buffers()[2], dtype=np.uint8)
    offsets = np.frombuffer(unique.buffers()[1], dtype=np.int64)[unique.offset : unique.offset + len(unique) + 1]
    return {
        "words": np.array([word.encode() for word in words.dictionary.to_pylist()]),
        "phrases": texts[: offsets[-1]],
        "begin": offsets,
        "first": np.asarray(split.offsets).astype(np.int32),
        "members": np.asarray(words.indices).astype(np.int32),
        "pairs": np.asarray(phrases.indices).astype(np.int32).reshape(-1, 2),
        "probabilities": np.asarray(pc.cast(numbers, pa.float64())),
    }
