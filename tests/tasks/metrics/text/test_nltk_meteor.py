import pytest

from tasks.metrics.text.nltk_meteor import installed_wordnet, nltk_meteor
from tasks.metrics.text.tokens import released_tokens


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        (
            "There is a place in the city centre, Alimentum, that is not family-friendly.",
            "Alimentum is located in the city centre. It is not family-friendly.",
            0.5254,
        ),
        (
            "It is a guide to action that ensures that the military will forever heed Party commands",
            "It is a guide to action which ensures that the military always obeys the commands of the party",
            0.6944,
        ),
        ("the cat sat on the mat", "the cat was sat on the mat", 0.9654),
        ("a b c d e", "a b c d e", 0.996),
    ],
)
def test_values_of_nltk_without_synonyms(reference, hypothesis, expected):
    """Far from METEOR 1.5 on the same texts: 0.425, 0.447, 0.512 and 1."""
    assert nltk_meteor(reference.split(), hypothesis.split()) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("The heart is enlarged. No effusion is seen.", "the heart is enlarging. no effusions are seen", 0.6376262626262627),
        (
            "Nodule of 5.5 cm in the left lung. The left lung is otherwise clear.",
            "the left lung is clear. nodule of 5.5 cm. the nodule",
            0.6877369521312404,
        ),
        ("Clear lungs.", "normal", 0.0),
        ("Fibrous stroma\nwith glands. Mitoses are rare.", "stroma with\nglands and rare mitoses.. . end", 0.2469135802469136),
    ],
)
def test_values_on_reports(reference, hypothesis, expected):
    texts = released_tokens([reference, hypothesis]).texts
    assert nltk_meteor(*(text.split() for text in texts)) == pytest.approx(expected, abs=1e-12)


def test_identical_texts_never_reach_one():
    for length in (1, 2, 5, 20):
        words = [f"w{index}" for index in range(length)]
        assert nltk_meteor(words, words) == pytest.approx(1 - 0.5 / length**3, abs=1e-12)


class BigIsVastOrLarge:
    """WordNet's interface, with one synset."""

    class Lemma:
        def __init__(self, name):
            self.name = lambda: name

    def synsets(self, word):
        return [self] if word == "big" else []

    def lemmas(self):
        return [self.Lemma("vast"), self.Lemma("large")]


def test_synonyms_are_the_last_resort():
    wordnet = BigIsVastOrLarge()
    assert nltk_meteor(["a", "vast", "rib"], ["a", "big", "rib"]) < 0.7
    assert nltk_meteor(["a", "vast", "rib"], ["a", "big", "rib"], wordnet) == pytest.approx(1 - 0.5 / 27, abs=1e-12)
    stemmed = nltk_meteor(["a", "large", "rib"], ["a", "big", "rib"], wordnet)
    assert stemmed < 0.7  # NLTK compares synonyms with what the stemmer left: "larg"


def test_without_the_data_there_is_no_wordnet(monkeypatch, tmp_path):
    from nltk import data

    monkeypatch.setattr(data, "path", [str(tmp_path)])
    assert installed_wordnet() is None
