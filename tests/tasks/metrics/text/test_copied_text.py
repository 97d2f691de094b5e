import subprocess
import sys

import numpy as np
import pytest

from tasks.metrics.text.copied_text import NO_TEXT, Hashed, TextRows, copied, number_of, words

NINE = "one two three four five six seven eight nine"


def blocks(texts, size, patients=None):
    owners = np.arange(len(texts), dtype=np.uint64) if patients is None else np.array(patients, dtype=np.uint64)
    for start in range(0, len(texts), size):
        yield TextRows(start, Hashed.of(texts[start : start + size]), owners[start : start + size])


def look(queries, texts, size=2, **more):
    return copied(Hashed.of(queries), blocks(texts, size), **more)


def test_words_and_their_hashes():
    assert words("No Focal, consolidation.\n(XVI) été") == ["no", "focal", "consolidation", "xvi", "été"]
    hashed = Hashed.of([NINE, None, "  ", "few words", NINE.upper() + "."])
    assert (hashed.whole == NO_TEXT).tolist() == [False, True, True, False, False]
    assert hashed.whole[0] == hashed.whole[4]
    assert hashed.rows.tolist() == [0, 0, 4, 4]
    assert hashed.grams[0] == hashed.grams[2] != hashed.grams[1]
    swapped = Hashed.of(["two one three four five six seven eight"])
    assert swapped.grams[0] != hashed.grams[0]
    code = "from tasks.metrics.text.copied_text import number_of; print(number_of('été'))"
    assert int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) == number_of("été")


@pytest.mark.parametrize("size", [1, 2, 5])
def test_verbatim_reports_and_where_they_are(size):
    texts = ["the heart is normal", None, "clear lungs", NINE]
    found = look(["Clear lungs!", "clear lungs today", "", NINE], texts, size)
    assert found.verbatim.tolist() == [True, False, False, True]
    assert found.rows.tolist() == [2, -1, -1, 3]
    np.testing.assert_array_equal(found.share, [1, 0, np.nan, 1])
    assert found.longest.tolist() == [0, 0, 0, 9]


@pytest.mark.parametrize("size", [1, 3])
def test_the_share_of_copied_runs_by_hand(size):
    """10 words make three 8-grams; the first two stand in the training reports."""
    found = look([NINE + " ninety"], ["nothing alike", NINE, NINE + " ten eleven"], size)
    assert found.share.tolist() == pytest.approx([2 / 3])
    assert found.longest.tolist() == [9]
    assert found.rows.tolist() == [1]  # the first of those that share most
    assert not found.verbatim.any()


def test_the_longest_run_is_of_one_text():
    found = look([f"{NINE} x {NINE} y", NINE], [NINE, "z"])
    assert found.longest.tolist() == [9, 9]
    assert found.share.tolist() == pytest.approx([4 / 13, 1])


def test_8_grams_equal_a_set_of_tuples():
    generator = np.random.default_rng(2)
    texts = [" ".join(generator.choice(["a", "b"], size=generator.integers(5, 40))) for _ in range(60)]
    queries, training = texts[:20], texts[20:]

    def grams(text):
        return [tuple(text.split()[start : start + 8]) for start in range(len(text.split()) - 7)]

    known = {gram for text in training for gram in grams(text)}
    expected = [
        np.mean([gram in known for gram in grams(text)]) if grams(text) else float(text in training) for text in queries
    ]
    assert look(queries, training, 7).share.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_reports_of_the_same_patient_are_left_out(size):
    texts, patients = [NINE, NINE + " ten", "other"], [7, 7, 8]
    training = list(blocks(texts, size, patients))
    own = copied(Hashed.of([NINE, NINE]), training, patients=np.array([7, 8], dtype=np.uint64))
    assert own.verbatim.tolist() == [False, True]
    assert own.share.tolist() == [0, 1]
    assert own.rows.tolist() == [-1, 0]


def test_no_training_reports():
    found = look([NINE], [None, None])
    assert found.share.tolist() == [0]
    assert found.rows.tolist() == [-1]
