"""ROUGE (Lin 2004): ROUGE-L as COCO captioning computes it, and the three figures of the package `rouge`."""

from collections.abc import Sequence

import numpy as np

from tasks.metrics.text.ngrams import References

BETA = 1.2


def rouge_l(references: References, hypotheses: Sequence[str]) -> np.ndarray:
    """ROUGE-L of each case: float64 (N,).

        F = (1 + b^2) P R / (R + b^2 P)     P = lcs / tokens of the hypothesis, R = lcs / tokens of the reference, b = 1.2

    An empty text is one token, the empty one: as in pycocoevalcap, two empty texts agree.
    """
    scores = np.zeros(len(references))
    for index, (reference, positions, hypothesis) in enumerate(
        zip(references.texts, references.positions, hypotheses, strict=True)
    ):
        tokens, length = hypothesis.split(" "), reference.count(" ") + 1
        common = common_length(positions, length, tokens)
        if common:
            precision, recall = common / len(tokens), common / length
            scores[index] = (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
    return scores


def common_length(positions: dict[str, int], length: int, tokens: Sequence[str]) -> int:
    """Length of the longest common subsequence of two token lists, by operations on whole rows of bits (Hyyrö 2004).

    Args:
        positions: of the first list's words, the places as bits; `length` its number of tokens.
        tokens: the second list.
    """
    full = (1 << length) - 1
    row = full
    for token in tokens:
        common = row & positions.get(token, 0)
        row = (row + common | row - common) & full
    return length - row.bit_count()


def rouge_package(reference: str, hypothesis: str) -> tuple[float, float, float] | None:
    """F of ROUGE-1, ROUGE-2 and ROUGE-L as the package `rouge` 1.0 defines them; None where it gives up on a text.

    n-grams and subsequences are *sets* of words here, and sentences end at every full stop, that of "5.5" too.
    """
    ours, theirs = _sentences(hypothesis), _sentences(reference)
    if not ours or not theirs:
        return None
    words, reference_words = [word for s in ours for word in s], [word for s in theirs for word in s]
    scores = []
    for order in (1, 2):
        own, other = _gram_set(words, order), _gram_set(reference_words, order)
        scores.append(_f(len(own & other), len(own), len(other)))
    common: set[str] = set()
    for sentence in theirs:
        for candidate in ours:
            common |= _common_words(sentence, candidate)
    return scores[0], scores[1], _f(len(common), len(set(words)), len(set(reference_words)))


def _f(common: int, tried: int, wanted: int) -> float:
    precision, recall = (common / tried if tried else 0.0), (common / wanted if wanted else 0.0)
    return 2.0 * precision * recall / (precision + recall + 1e-8)


def _sentences(text: str) -> list[list[str]]:
    """Words of the pieces between full stops; a piece of spaces alone is one empty word, as the package has it."""
    return [" ".join(piece.split()).split(" ") for piece in text.split(".") if piece]


def _gram_set(words: Sequence[str], order: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[shift:] for shift in range(order)), strict=False))


def _common_words(first: Sequence[str], second: Sequence[str]) -> set[str]:
    """Words of one longest common subsequence, the one that is found from the end, dropping of `second` first on a tie."""
    table = [[0] * (len(second) + 1)]
    for word in first:
        above, row = table[-1], [0]
        for column, other in enumerate(second, start=1):
            row.append(above[column - 1] + 1 if word == other else max(above[column], row[-1]))
        table.append(row)
    words, i, j = set(), len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            words.add(first[i - 1])
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return words
