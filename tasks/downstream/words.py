"""Reports as words: the vocabulary of the training reports above a threshold, as captioning models have it."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from medim.common.errors import UserError

END = 0
"""The id of begin, end and padding alike, as in R2Gen."""
UNKNOWN = "<unk>"

_WORD = re.compile(r"\d+(?:\.\d+)?|\w+(?:[-/]\w+)*|[^\w\s]")
_NO_SPACE_BEFORE = re.compile(r" ([.,;:)%?!])")


class WordTokenizer:
    """Lower-case words, numbers and marks as ids 1..V; 0 begins, ends and pads.

    Args:
        words: the vocabulary, `<unk>` among it.
        longest: tokens of a report, the end included; what is longer keeps its beginning.
    """

    def __init__(self, words: Sequence[str], longest: int) -> None:
        self.words, self.longest = list(words), longest
        self._ids = {word: number for number, word in enumerate(self.words, start=1)}
        self._unknown = self._ids[UNKNOWN]

    @classmethod
    def train(cls, reports: Iterable[str], threshold: int, longest: int) -> "WordTokenizer":
        """The vocabulary of all words that occur at least `threshold` times, in alphabetical order.

        Raises:
            UserError: no word occurs that often.
        """
        counts = Counter(word for report in reports for word in split(report))
        words = sorted(word for word, count in counts.items() if count >= threshold)
        if not words:
            raise UserError(f"no word occurs {threshold} times in the training reports: a vocabulary needs more reports")
        return cls([*words, UNKNOWN], longest)

    @property
    def size(self) -> int:
        """Number of ids: V + 1."""
        return len(self.words) + 1

    def encode(self, reports: Sequence[str]) -> torch.Tensor:
        """Ids (N, T) with T the longest of them and at most `longest`: words, then `END` to the row's end.

        Every row that was not cut holds at least one `END`.
        """
        rows = [[self._ids.get(word, self._unknown) for word in split(report)][: self.longest] for report in reports]
        length = min(self.longest, 1 + max(map(len, rows), default=0))
        ids = torch.full((len(rows), length), END)
        for row, values in zip(ids, rows, strict=True):
            row[: len(values)] = torch.tensor(values, dtype=torch.long)[:length]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids up to the first `END`; unknown words stay `<unk>`."""
        words: list[str] = []
        for number in ids:
            if number == END:
                break
            words.append(self.words[number - 1])
        return _NO_SPACE_BEFORE.sub(r"\1", " ".join(words)).replace("( ", "(")

    def state(self) -> dict[str, Any]:
        """JSON-able arguments of the constructor."""
        return {"words": self.words, "longest": self.longest}


def split(report: str) -> list[str]:
    """Words, numbers and single marks of a text in lower case.

    >>> split("No mass; 2.5 cm follow-up.")
    ['no', 'mass', ';', '2.5', 'cm', 'follow-up', '.']
    """
    return _WORD.findall(report.lower())
