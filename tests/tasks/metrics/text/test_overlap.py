import numpy as np
import pytest

from tasks.metrics.text.ngrams import References
from tasks.metrics.text.overlap import (
    bleu_of_sums,
    bleu_sums,
    cider,
    common_length,
    rouge_l,
    rouge_package,
    smoothed_sentence_bleu,
)


def bleu_counts(references: list[str], hypotheses: list[str]) -> np.ndarray:
    known = References(references)
    return bleu_sums(known, known.count(hypotheses))


def test_bleu_by_hand():
    """4 of 5 words, 2 of 4 bigrams, as long as the reference."""
    counts = bleu_counts(["the cat is on mats"], ["the cat was on mats"])
    assert counts.tolist() == [[5, 5, 5, 4, 3, 2, 4, 2, 0, 0]]
    assert bleu_of_sums(counts, order=1) == pytest.approx([4 / 5], abs=1e-8)
    assert bleu_of_sums(counts, order=2) == pytest.approx([np.sqrt(4 / 5 * 2 / 4)], abs=1e-8)


def test_matches_are_clipped():
    assert bleu_counts(["the cat"], ["the the the"])[0, 6] == 1


def test_corpus_and_mean_of_sentences_differ():
    counts = bleu_counts(["a b c d e f g h", "a b"], ["a b c d e f g h", "c d"])
    corpus, sentences = bleu_of_sums(counts.sum(axis=0, keepdims=True), order=1), bleu_of_sums(counts, order=1)
    assert corpus == pytest.approx([0.8], abs=1e-8)
    assert sentences == pytest.approx([1, 0], abs=1e-6)


def test_a_short_text_pays_for_its_brevity():
    counts = bleu_counts(["a b c d"], ["a b"])
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
    counts = bleu_counts([reference], [hypothesis])
    assert [smoothed_sentence_bleu(counts, order)[0] for order in (1, 2, 3, 4)] == pytest.approx(expected, abs=1e-12)


def cider_scores(references: list[str], hypotheses: list[str]) -> np.ndarray:
    known = References(references)
    return cider(known, known.count(hypotheses))


def test_one_pair_scores_zero_even_if_identical():
    assert cider_scores(["no effusion is seen today"], ["no effusion is seen today"]) == pytest.approx([0.0], abs=0)


def test_three_identical_pairs_score_ten():
    texts = ["the heart is enlarged today", "no pneumothorax can be seen", "small effusion on both sides"]
    assert cider_scores(texts, texts) == pytest.approx([10.0] * 3, abs=1e-12)


def test_the_penalty_counts_bigrams():
    """A text of one word has as many bigrams as an empty one: none."""
    references = ["heart", "lung", "rib"]
    known = References(references)
    assert cider(known, known.count(["heart", "heart heart", "rib rib rib rib"]))[0] == pytest.approx(10 / 4)
    word, two = cider_scores(references, ["heart", "", ""])[0], cider_scores(references, ["heart heart", "", ""])[0]
    assert two == pytest.approx(word / 2 * np.exp(-1 / 72))  # clipped to one of two, one bigram longer


def test_words_of_no_reference_dilute():
    texts = ["the heart is enlarged today", "no pneumothorax can be seen", "small effusion on both sides"]
    alone = cider_scores(texts, ["the heart is enlarged today", *texts[1:]])[0]
    diluted = cider_scores(texts, ["the heart is enlarged tomorrow", *texts[1:]])[0]
    assert 0 < diluted < alone


def rouge_of(reference: str, hypothesis: str) -> float:
    return float(rouge_l(References([reference]), [hypothesis])[0])


def test_recall_weighs_more():
    """LCS 6 of 6 and of 7 tokens, beta 1.2: (1 + 1.44) P R / (R + 1.44 P) with P = 6/7, R = 1. F1 would be 0.92308."""
    longer = rouge_of("the cat sat on the mat", "the cat was sat on the mat")
    assert longer == pytest.approx(2.44 * (6 / 7) / (1 + 1.44 * 6 / 7), abs=1e-12)
    assert longer == pytest.approx(0.93606, abs=5e-6)
    assert pytest.approx(0.92308, abs=5e-6) == 2 * (6 / 7) / (1 + 6 / 7)
    assert rouge_of("the cat was sat on the mat", "the cat sat on the mat") < longer


def test_empty_texts():
    """An empty text is one empty token: two of them agree, as in pycocoevalcap."""
    assert (rouge_of("", ""), rouge_of("a", ""), rouge_of("", "a")) == (1.0, 0.0, 0.0)


def test_common_subsequences_against_the_table():
    generator = np.random.default_rng(0)
    for _ in range(40):
        first, second = (list(generator.choice(list("abcdefg"), size=int(generator.integers(1, 40)))) for _ in range(2))
        table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
        positions = References([" ".join(first)]).positions[0]
        assert common_length(positions, len(first), second) == table[-1, -1]


# What `rouge` 1.0.1 gives.
@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        (
            "the heart is enlarged. no effusion is seen.",
            "the heart is enlarging. no effusions are seen",
            (0.6666666616888889, 0.2857142807142858, 0.6666666616888889),
        ),
        (
            "nodule of 5.5 cm in the left lung. the left lung is otherwise clear.",
            "the left lung is clear. nodule of 5.5 cm. the nodule",
            (0.8999999950500001, 0.6086956471833649, 0.8999999950500001),
        ),
        (
            "no pneumothorax. no effusion. no consolidation.",
            "no consolidation . no effusion . no pneumothorax .",
            (0.999999995, 0.7999999950000002, 0.999999995),
        ),
        (
            "fibrous stroma\nwith glands. mitoses are rare.",
            "stroma with\nglands and rare mitoses.. . end",
            (0.6666666616888889, 0.3076923027218935, 0.5333333283555556),
        ),
        ("clear lungs.", "normal", (0.0, 0.0, 0.0)),
    ],
)
def test_values_of_the_package(reference, hypothesis, expected):
    assert rouge_package(reference, hypothesis) == pytest.approx(expected, abs=1e-12)


def test_the_package_gives_up_on_full_stops_alrouge_of():
    assert rouge_package("clear.", "...") is None
    assert rouge_package("", "clear") is None
