import numpy as np
import pytest

from tasks.metrics.text.bleu import bleu_of_sums, bleu_sums, smoothed_sentence_bleu
from tasks.metrics.text.ngrams import References


def sums(references: list[str], hypotheses: list[str]) -> np.ndarray:
    known = References(references)
    return bleu_sums(known, known.count(hypotheses))


def test_by_hand():
    """4 of 5 words, 2 of 4 bigrams, as long as the reference."""
    counts = sums(["the cat is on mats"], ["the cat was on mats"])
    assert counts.tolist() == [[5, 5, 5, 4, 3, 2, 4, 2, 0, 0]]
    assert bleu_of_sums(counts, order=1) == pytest.approx([4 / 5], abs=1e-8)
    assert bleu_of_sums(counts, order=2) == pytest.approx([np.sqrt(4 / 5 * 2 / 4)], abs=1e-8)


def test_matches_are_clipped():
    assert sums(["the cat"], ["the the the"])[0, 6] == 1


def test_corpus_and_mean_of_sentences_differ():
    counts = sums(["a b c d e f g h", "a b"], ["a b c d e f g h", "c d"])
    corpus, sentences = bleu_of_sums(counts.sum(axis=0, keepdims=True), order=1), bleu_of_sums(counts, order=1)
    assert corpus == pytest.approx([0.8], abs=1e-8)
    assert sentences == pytest.approx([1, 0], abs=1e-6)


def test_a_short_text_pays_for_its_brevity():
    counts = sums(["a b c d"], ["a b"])
    assert bleu_of_sums(counts, order=1) == pytest.approx([np.exp(1 - 4 / 2)], abs=1e-7)


# What NLTK's sentence_bleu gives with smoothing method 1, on tokens of the released script.
@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        (
            "the heart is enlarged . no effusion is seen .",
            "the heart is enlarging . no effusions are seen",
            [0.596559544542913, 0.44741965840718484, 0.2946856901286969, 0.13977121394614234],
        ),
        (
            "no pneumothorax . no effusion . no consolidation .",
            "no consolidation . no effusion . no pneumothorax .",
            [1.0, 1.0, 0.8939035350965677, 0.6985342056580097],
        ),
        ("clear lungs .", "normal", [0, 0, 0, 0]),
        ("clear lungs .", "", [0, 0, 0, 0]),
    ],
)
def test_smoothed_sentences(reference, hypothesis, expected):
    counts = sums([reference], [hypothesis])
    assert [smoothed_sentence_bleu(counts, order)[0] for order in (1, 2, 3, 4)] == pytest.approx(expected, abs=1e-12)
