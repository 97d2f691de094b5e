from collections import Counter

import numpy as np
import pytest

from tasks.metrics.text.ngrams import ORDERS, ReferenceCache, References
from tasks.metrics.text.tokens import Tokenised


def plain(text: str, order: int) -> Counter:
    words = text.split()
    return Counter(zip(*(words[shift:] for shift in range(order)), strict=False))


@pytest.fixture
def texts() -> list[list[str]]:
    generator = np.random.default_rng(0)
    return [
        [" ".join(generator.choice(list(letters), size=int(generator.integers(0, 15)))) for _ in range(40)]
        for letters in ("abcd", "abcdefg")
    ]


def test_counts_and_matches_are_those_of_dictionaries(texts):
    references, hypotheses = texts
    known = References(references)
    counted = known.count(hypotheses)
    for order in range(1, ORDERS + 1):
        own, other = known.counted.grams[order - 1], counted.grams[order - 1]
        for row in range(40):
            assert sorted(own.counts[own.rows == row]) == sorted(plain(references[row], order).values())
            assert sorted(other.counts[other.rows == row]) == sorted(plain(hypotheses[row], order).values())
        hit, place = known.matches(other, order)
        clipped = np.minimum(other.counts[hit], own.counts[place])
        matched = np.bincount(other.rows[hit], weights=clipped, minlength=40)
        expected = [(plain(a, order) & plain(b, order)).total() for a, b in zip(references, hypotheses, strict=True)]
        assert matched.tolist() == expected


def test_frequencies_count_texts(texts):
    known = References(texts[0])
    expected = Counter(gram for text in texts[0] for gram in plain(text, 2))
    assert sorted(known.frequencies[1]) == sorted(expected.values())


def test_new_words_change_nothing_that_is_known(texts):
    known = References(texts[0])
    before = [keys.copy() for keys in known.known]
    known.count(texts[1])
    assert all(np.array_equal(a, b) for a, b in zip(before, known.known, strict=True))
    assert set(known.words) <= set("abcd")


def test_all_empty():
    known = References(["", ""])
    assert known.count(["a b", ""]).lengths.tolist() == [2, 0]
    assert known.matches(known.count(["a b", ""]).grams[0], 1)[0].tolist() == []


def test_the_cache_is_keyed_by_texts_and_protocol():
    calls = []

    def prepare(texts):
        calls.append(list(texts))
        return Tokenised([text.lower() for text in texts], "lower")

    cache = ReferenceCache()
    first = cache.get(["A b", "C"], "one", prepare)
    assert cache.get(["A b", "C"], "one", prepare) is first
    assert cache.get(["A b", "C"], "two", prepare) is not first
    assert cache.get(["A", "b C"], "one", prepare) is not first
    assert len(calls) == cache.misses == 3
    assert (first.texts, first.sources, first.tokenisation) == (("a b", "c"), ("A b", "C"), "lower")


def test_tokens_of_references_outlive_the_process(tmp_path):
    texts = ["Caf\u00e9 \u2028 one", "", "two two"]
    calls = []

    def prepare(texts):
        calls.append(len(texts))
        return Tokenised([text.lower() for text in texts], "lower")

    first = ReferenceCache(tmp_path / "tokens").get(texts, "strict-v1", prepare)
    cache = ReferenceCache(tmp_path / "tokens")
    again = cache.get(texts, "strict-v1", prepare)
    assert (again.texts, again.tokenisation) == (first.texts, first.tokenisation)
    assert (calls, cache.misses) == ([3], 0)
    cache.get(texts, "r2gen", prepare)
    cache.get(texts[:2], "strict-v1", prepare)
    assert calls == [3, 3, 2]
