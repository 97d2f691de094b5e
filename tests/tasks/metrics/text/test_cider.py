import numpy as np
import pytest

from tasks.metrics.text.cider import cider
from tasks.metrics.text.ngrams import References


def scores(references: list[str], hypotheses: list[str]) -> np.ndarray:
    known = References(references)
    return cider(known, known.count(hypotheses))


def test_one_pair_scores_zero_even_if_identical():
    assert scores(["no effusion is seen today"], ["no effusion is seen today"]) == pytest.approx([0.0], abs=0)


def test_three_identical_pairs_score_ten():
    texts = ["the heart is enlarged today", "no pneumothorax can be seen", "small effusion on both sides"]
    assert scores(texts, texts) == pytest.approx([10.0] * 3, abs=1e-12)


def test_the_penalty_counts_bigrams():
    """A text of one word has as many bigrams as an empty one: none."""
    references = ["heart", "lung", "rib"]
    known = References(references)
    assert cider(known, known.count(["heart", "heart heart", "rib rib rib rib"]))[0] == pytest.approx(10 / 4)
    word, two = scores(references, ["heart", "", ""])[0], scores(references, ["heart heart", "", ""])[0]
    assert two == pytest.approx(word / 2 * np.exp(-1 / 72))  # clipped to one of two, one bigram longer


def test_words_of_no_reference_dilute():
    texts = ["the heart is enlarged today", "no pneumothorax can be seen", "small effusion on both sides"]
    alone = scores(texts, ["the heart is enlarged today", *texts[1:]])[0]
    diluted = scores(texts, ["the heart is enlarged tomorrow", *texts[1:]])[0]
    assert 0 < diluted < alone
