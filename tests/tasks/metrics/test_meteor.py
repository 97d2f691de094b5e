import numpy as np
import pytest

from tasks.metrics import meteor
from tasks.metrics.java import ScorerError
from tasks.metrics.meteor import Meteor, additive, score

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
    monkeypatch.setattr(meteor, "jar", lambda relative: broken)
    with pytest.raises(ScorerError, match=r"METEOR 1\.5 failed: .*[Ee]rror"):
        Meteor().counts(["a"], ["a"])
