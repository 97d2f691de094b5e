import numpy as np
import pytest

from tasks.metrics.text import meteor
from tasks.metrics.text.java import ScorerError, jar
from tasks.metrics.text.meteor import Meteor, additive, installed_wordnet, nltk_meteor, score
from tasks.metrics.text.tokens import released_tokens, tokenise_jar

# The jar's counts and its own EVAL of them, taken from its stdio.
CAT = "6 6 4 3 2 2 3 3 0 0 0 0 0 0 0 0 0 0 0 0 2 5 5"  # "the cat is on the mat" against "the cat sat on the mat"
ABC = "3 3 1 1 2 2 1 1 0 0 0 0 0 0 0 0 0 0 0 0 1 3 3"  # "a b c" against itself
EMPTY = "0 3 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"


def counts(*lines: str) -> np.ndarray:
    return np.array([[float(value) for value in line.split()] for line in lines])


def test_score_is_that_of_the_jar():
    assert score(counts(CAT, ABC, EMPTY)) == pytest.approx([0.38497544273759704, 1.0, 0.0], abs=1e-15)


def test_an_identical_corpus_scores_one():
    assert score(additive(counts(ABC, ABC, ABC)).sum(axis=0)) == 1.0


def test_values_of_the_jar(java):
    references = [
        "the cat sat on the mat",
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "a b c",
        "a b c",
    ]
    hypotheses = [
        "the cat was sat on the mat",
        "It is a guide to action which ensures that the military always obeys the commands of the party",
        "",
        "a ||| b c",
    ]
    values = score(meteor.shared().counts(references, hypotheses))
    assert values == pytest.approx([0.5119556177223324, 0.44736091739438233, 0.0, 1.0], abs=1e-12)


def test_missing_java_is_told(no_java):
    with pytest.raises(ScorerError, match=r"METEOR 1\.5 needs Java"):
        Meteor().counts(["a"], ["a"])


def test_a_failing_jar_is_told(java, monkeypatch, tmp_path):
    broken = tmp_path / "broken.jar"
    broken.write_text("no jar")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "paraphrase-en.gz").symlink_to(jar("meteor/data/paraphrase-en.gz"))
    monkeypatch.setattr(meteor, "jar", lambda relative: broken)
    with pytest.raises(ScorerError, match=r"METEOR 1\.5 failed: .*[Ee]rror"):
        Meteor().counts(["a"], ["a"])


E2E = (
    "There is a place in the city centre, Alimentum, that is not family-friendly.",
    "Alimentum is located in the city centre. It is not family-friendly.",
)


def test_pre_tokenisation_moves_the_score(java):
    """Raw text 0.42485, PTB tokens without punctuation 0.44443: the COCO protocol feeds the latter."""
    tokens = tokenise_jar(E2E)
    values = score(meteor.shared().counts([E2E[0], tokens[0]], [E2E[1], tokens[1]]))
    assert values == pytest.approx([0.42485, 0.44443], abs=5e-6)


@pytest.mark.slow
def test_a_trimmed_table_changes_no_score(java, degraded):
    """600 real reports and captions, against the jar with its whole table."""
    references, hypotheses = (tokenise_jar(texts) for texts in degraded(600))
    trimmed, whole = Meteor(), Meteor(whole=True)
    try:
        assert np.array_equal(trimmed.counts(references, hypotheses), whole.counts(references, hypotheses))
        hyphens = ["c7-t1 isn't u.s. 5.5 cm x-ray follow-up e.g. well_formed"] * 2
        others = ["t1 is not us 5 cm xray follow up for example well formed", "spine at c7 is not, x ray"]
        assert np.array_equal(trimmed.counts(hyphens, others), whole.counts(hyphens, others))
        trimmed.counts(references[:50], hypotheses[:50])
        assert (trimmed.starts, whole.starts) == (2, 1)
    finally:
        trimmed.close()
        whole.close()


def test_runs_below_a_folder_with_a_space(java, monkeypatch, tmp_path):
    folder = tmp_path / "two words"
    (folder / "data").mkdir(parents=True)
    (folder / "meteor-1.5.jar").symlink_to(jar("meteor/meteor-1.5.jar"))
    (folder / "data" / "paraphrase-en.gz").symlink_to(jar("meteor/data/paraphrase-en.gz"))
    monkeypatch.setattr(meteor, "jar", lambda relative: folder / "meteor-1.5.jar")
    own = Meteor()
    values = score(own.counts(["the cat sat on the mat"], ["the cat was sat on the mat"]))
    own.close()
    assert values == pytest.approx([0.5119556177223324], abs=1e-12)


def test_without_a_place_for_the_index_the_jar_reads_its_whole_table(java, monkeypatch):
    def refused(source):
        raise PermissionError(source)

    monkeypatch.setattr(meteor, "table", refused)
    started = []
    monkeypatch.setattr(Meteor, "_start", lambda self, path, paraphrases: started.append(paraphrases.name))
    Meteor().start(["a"], ["b"])
    assert started == ["paraphrase-en.gz"]


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
