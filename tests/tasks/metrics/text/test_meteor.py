import numpy as np
import pytest

from tasks.metrics.text import meteor
from tasks.metrics.text.java import ScorerError, jar
from tasks.metrics.text.meteor import Meteor, additive, score
from tasks.metrics.text.tokens import tokenise_jar

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
