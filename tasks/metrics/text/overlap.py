"""BLEU (Papineni et al. 2002), CIDEr (Vedantam et al. 2015) and ROUGE (Lin 2004) of texts with one or more references each.
The values are those of pycocoevalcap, but for `smoothed_sentence_bleu` (NLTK's) and `rouge_package` (that of `rouge` 1.0)."""

from collections.abc import Sequence

import numpy as np

from tasks.metrics.statistics.additive import combiner
from tasks.metrics.text.ngrams import ORDERS, Counted, Grams, References

BETA = 1.2  # of ROUGE-L
SIGMA = 6.0  # of CIDEr's length penalty
_TINY, _SMALL = 1e-15, 1e-9  # pycocoevalcap's, against division by zero


def bleu_sums(references: References, hypotheses: Counted) -> np.ndarray:
    """Counts of each case: float64 (N, 10): tokens of hypothesis and reference, n-grams tried (4), n-grams matched (4).
    A match is clipped: an n-gram counts at most as often as the reference that has it most often. Of several references the
    length nearest to the hypothesis's counts, of two as near the shorter."""
    lengths, numbers = hypotheses.lengths, range(references.most)
    tried = [np.maximum(0, lengths - order) for order in range(ORDERS)]
    matched = []
    for order, grams in enumerate(hypotheses.grams, start=1):
        clipped = np.zeros(len(grams.rows))
        for number in numbers:
            hit, place = references.matches(grams, order, number)
            there = np.minimum(grams.counts[hit], references.counted.grams[order - 1].counts[place])
            clipped[hit] = np.maximum(clipped[hit], there)
        matched.append(np.bincount(grams.rows, weights=clipped, minlength=len(lengths)))
    theirs = np.stack([references.counted.lengths[references.place(number)] for number in numbers])  # (most, N)
    nearest = np.lexsort((theirs, abs(theirs - lengths)), axis=0)[:1]
    return np.stack([lengths, *np.take_along_axis(theirs, nearest, axis=0), *tried, *matched], axis=1).astype(np.float64)


@combiner("corpus-bleu", bounds=(0, 1))
def bleu_of_sums(sums: np.ndarray, *, order: int) -> np.ndarray:
    """BLEU-1 to `order` without smoothing, of a corpus (rows are sums over cases) or of single cases: (R, 10) -> (R,).
    BLEU = min(1, exp(1 - r / c)) (prod_n matched_n / tried_n)^(1 / order) c, r tokens of hypothesis and reference"""
    length, reference_length, tried, matched = _parts(sums, order)
    ratio = (length + _TINY) / (reference_length + _SMALL)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return brevity * ((matched + _TINY) / (tried + _SMALL)).prod(axis=1) ** (1 / order)


def smoothed_sentence_bleu(sums: np.ndarray, order: int, epsilon: float = 0.1) -> np.ndarray:
    """BLEU-1 to `order` of each case alone, an order without a match counted as `epsilon` matches: (N, 10) -> (N,).
    Chen and Cherry 2014, method 1, as NLTK computes it: 0 where not one word matches; an order that the text is too short for
    counts as tried once."""
    length, reference_length, tried, matched = _parts(sums, order)
    precision = np.where(matched > 0, matched, epsilon) / np.maximum(1.0, tried)
    with np.errstate(divide="ignore"):
        brevity = np.exp(np.minimum(0.0, 1 - reference_length / length))
    return np.where(sums[:, 6] > 0, brevity * np.exp(np.log(precision).mean(axis=1)), 0.0)


def _parts(sums: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of hypothesis and reference, (R,); n-grams tried and matched, (R, order)."""
    return sums[:, 0], sums[:, 1], sums[:, 2 : 2 + order], sums[:, 6 : 6 + order]


def cider(references: References, hypotheses: Counted) -> np.ndarray:
    """CIDEr of each case: float64 (N,), in [0, 10].

        g_n(w) = count(w) (log N - log max(1, df(w)))                           df: cases whose references hold n-gram w, of N
        CIDEr  = 10 / 4 sum_n  exp(-d^2 / 2 s^2)  sum_w min(g_h, g_r) g_r / (|g_h| |g_r|)          s = 6

    d is the difference in *bigrams*, not words, as in pycocoevalcap and so in published values. Of several references of a
    case, the mean.
    """
    values = np.stack([_cider(references, hypotheses, number) for number in range(references.most)])  # (most, N)
    counts = np.arange(references.most)[:, None] < references.per_case
    return np.where(counts, values, 0.0).sum(axis=0) / references.per_case


def _cider(references: References, hypotheses: Counted, which: int) -> np.ndarray:
    """CIDEr with one reference of each case, (N,)."""
    number, places = len(references), references.place(which)
    total = np.zeros(number)
    for order in range(1, ORDERS + 1):
        ours, theirs = references.counted.grams[order - 1], hypotheses.grams[order - 1]
        weights, other_weights = _weights(references, ours, order), _weights(references, theirs, order)
        lengths = ours.per_text(weights**2, len(references.every))[places]
        norms = np.sqrt(lengths * theirs.per_text(other_weights**2, number))
        hit, place = references.matches(theirs, order, which)
        shared = np.minimum(other_weights[hit], weights[place]) * weights[place]
        products = np.bincount(theirs.rows[hit], weights=shared, minlength=number)
        total += np.divide(products, norms, out=np.zeros(number), where=norms > 0)
    apart = _bigrams(hypotheses) - _bigrams(references.counted)[places]
    return 10 / ORDERS * np.exp(-(apart**2) / (2 * SIGMA**2)) * total


def _weights(references: References, grams: Grams, order: int) -> np.ndarray:
    """tf-idf of each n-gram in its text; an n-gram of no reference counts as being in one."""
    frequencies = references.frequencies[order - 1]
    found = np.ones(len(grams.ids))
    known = grams.ids < len(frequencies)
    found[known] = frequencies[grams.ids[known]]
    return grams.counts * (np.log(references.corpus) - np.log(np.maximum(1.0, found)))


def _bigrams(counted: Counted) -> np.ndarray:
    return np.maximum(0, counted.lengths - 1).astype(np.float64)


def rouge_l(references: References, hypotheses: Sequence[str]) -> np.ndarray:
    """ROUGE-L of each case: float64 (N,).

        F = (1 + b^2) P R / (R + b^2 P)     P = lcs / tokens of the hypothesis, R = lcs / tokens of the reference, b = 1.2

    An empty text is one token, the empty one: as in pycocoevalcap, two empty texts agree. Of several references of a case,
    the largest P and the largest R.
    """
    scores = np.zeros(len(references))
    for index, hypothesis in enumerate(hypotheses):
        tokens, precision, recall = hypothesis.split(" "), 0.0, 0.0
        theirs = references.of_case(index)
        for reference, positions in zip(references.every[theirs], references.positions[theirs], strict=True):
            length = reference.count(" ") + 1
            common = common_length(positions, length, tokens)
            precision, recall = max(precision, common / len(tokens)), max(recall, common / length)
        if precision:
            scores[index] = (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
    return scores


def common_length(positions: dict[str, int], length: int, tokens: Sequence[str]) -> int:
    """Length of the longest common subsequence of two token lists, by operations on whole rows of bits (Hyyrö 2004).
    `positions`: of the first list's words, the places as bits; `length` its number of tokens. `tokens`: the second list."""
    full = (1 << length) - 1
    row = full
    for token in tokens:
        common = row & positions.get(token, 0)
        row = (row + common | row - common) & full
    return length - row.bit_count()


def rouge_package(reference: str, hypothesis: str) -> tuple[float, float, float] | None:
    """F of ROUGE-1, ROUGE-2 and ROUGE-L as the package `rouge` 1.0 defines them; None where it gives up on a text.
    n-grams and subsequences are *sets* of words here, and sentences end at every full stop, that of "5.5" too."""
    ours, theirs = _sentences(hypothesis), _sentences(reference)
    if not ours or not theirs:
        return None
    words, reference_words = ([word for sentence in side for word in sentence] for side in (ours, theirs))
    scores = []
    for order in (1, 2):
        grams, reference_grams = _gram_set(words, order), _gram_set(reference_words, order)
        scores.append(_f(len(grams & reference_grams), len(grams), len(reference_grams)))
    common = set().union(*(_common_words(sentence, candidate) for sentence in theirs for candidate in ours))
    return scores[0], scores[1], _f(len(common), len(set(words)), len(set(reference_words)))


def _f(common: int, tried: int, wanted: int) -> float:
    precision, recall = (common / tried if tried else 0.0), (common / wanted if wanted else 0.0)
    return 2.0 * precision * recall / (precision + recall + 1e-8)


def _sentences(text: str) -> list[list[str]]:
    """Words of the pieces between full stops; a piece of spaces alone is one empty word, as in the package."""
    return [" ".join(piece.split()).split(" ") for piece in text.split(".") if piece]


def _gram_set(words: Sequence[str], order: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[shift:] for shift in range(order)), strict=False))


def _common_words(first: Sequence[str], second: Sequence[str]) -> set[str]:
    """Words of one longest common subsequence, the one found from the end, dropping of `second` first on a tie."""
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
