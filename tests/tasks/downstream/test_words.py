import pytest

from medim.common.errors import UserError
from tasks.downstream.words import END, UNKNOWN, WordTokenizer, split

REPORTS = ["No mass; 2.5 cm (left) follow-up.", "No mass."]


def test_words_numbers_and_marks_stand_alone():
    assert split(REPORTS[0]) == ["no", "mass", ";", "2.5", "cm", "(", "left", ")", "follow-up", "."]


def test_the_vocabulary_is_what_occurs_often_enough_and_unknown_is_last():
    assert WordTokenizer.train(REPORTS, 2, 10).words == [".", "mass", "no", UNKNOWN]
    assert WordTokenizer.train(REPORTS, 1, 10).size == 10 + 1 + 1


def test_rows_end_with_the_end_unless_they_are_cut():
    tokenizer = WordTokenizer.train(REPORTS, 2, 4)
    assert tokenizer.encode(["no mass", "no"]).tolist() == [[3, 2, END], [3, END, END]]
    assert tokenizer.encode(["no mass no mass no"]).tolist() == [[3, 2, 3, 2]]
    assert tokenizer.encode(["yes"]).tolist() == [[4, END]]


def test_a_report_survives_but_for_capitals():
    tokenizer = WordTokenizer.train(REPORTS, 1, 20)
    assert tokenizer.decode(tokenizer.encode(REPORTS)[0].tolist()) == "no mass; 2.5 cm (left) follow-up."


def test_the_state_makes_the_same_tokenizer():
    tokenizer = WordTokenizer.train(REPORTS, 2, 4)
    assert WordTokenizer(**tokenizer.state()).encode(REPORTS).equal(tokenizer.encode(REPORTS))


def test_no_word_often_enough():
    with pytest.raises(UserError, match="no word occurs 3 times"):
        WordTokenizer.train(REPORTS, 3, 10)
