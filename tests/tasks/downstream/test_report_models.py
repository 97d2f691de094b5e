from itertools import product

import pytest
import torch

from medim.common.errors import UserError
from tasks.downstream.report_models import END, UNKNOWN, WordTokenizer, after_begin, beam_search, cut, split, token_loss

IDS, LONGEST = 4, 4
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


def test_the_loss_ends_with_the_first_end():
    targets = torch.tensor([[2, 1, END, END], [1, END, END, END]])
    logits = torch.zeros(2, 4, 3)
    total, count = token_loss(logits, targets)
    assert count == 5
    assert float(total) == pytest.approx(5 * torch.log(torch.tensor(3.0)).item(), rel=1e-6)
    logits[0, 3], logits[1, 2:] = torch.tensor([-9.0, 9.0, 0.0]), torch.tensor([-9.0, 9.0, 0.0])  # behind the ends
    assert token_loss(logits, targets)[0] == total
    logits[1, 1, END] = 1.0  # the end itself is learned
    assert token_loss(logits, targets)[0] < total


def test_columns_of_padding_alone_are_cut():
    targets = torch.tensor([[2, 1, END, END, END], [1, END, END, END, END]])
    assert cut(targets).tolist() == [[2, 1, END], [1, END, END]]
    assert cut(torch.tensor([[2, 1]])).tolist() == [[2, 1]]


def test_a_decoder_reads_what_stands_before():
    assert after_begin(torch.tensor([[2, 1, END]])).tolist() == [[END, 2, 1]]


class Table:
    """Texts whose next token depends on all tokens so far, by a fixed random table per row of the batch."""

    def __init__(self, batch: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tables = [
            {key: torch.randn(IDS, generator=generator).mul(2).log_softmax(0) for key in self.keys()} for _ in range(batch)
        ]
        self.rows, self.texts = list(range(batch)), [()] * batch
        self.begun = False

    @staticmethod
    def keys():
        return [key for length in range(LONGEST) for key in product(range(IDS), repeat=length)]

    def step(self, tokens):
        if self.begun:
            self.texts = [(*text, int(token)) for text, token in zip(self.texts, tokens, strict=True)]
        self.begun = True
        return torch.stack([self.tables[row][text] for row, text in zip(self.rows, self.texts, strict=True)])

    def select(self, rows):
        self.rows = [self.rows[row] for row in rows.tolist()]
        self.texts = [self.texts[row] for row in rows.tolist()]


def best_of_all(table: dict) -> list[int]:
    """The most likely text among all of at most `LONGEST` tokens, its end included."""
    scores = {}
    for length in range(LONGEST + 1):
        for text in product(range(1, IDS), repeat=length):
            whole = (*text, END) if length < LONGEST else text
            scores[text] = sum(float(table[whole[:place]][token]) for place, token in enumerate(whole))
    return list(max(scores, key=scores.get))


@pytest.mark.parametrize("seed", range(6))
def test_wide_beams_find_the_most_likely_text(seed):
    texts = Table(3, seed)
    assert beam_search(texts, 3, IDS**LONGEST, LONGEST) == [best_of_all(table) for table in texts.tables]


@pytest.mark.parametrize("seed", range(6))
def test_one_beam_is_greedy(seed):
    texts = Table(2, seed)
    for found, table in zip(beam_search(texts, 2, 1, LONGEST), texts.tables, strict=True):
        text: tuple = ()
        while len(text) < LONGEST and (token := int(table[text].argmax())) != END:
            text = (*text, token)
        assert found == list(text)


def test_a_row_does_not_depend_on_its_batch():
    together = beam_search(Table(3, 1), 3, 2, LONGEST)
    alone = Table(3, 1)
    alone.rows, alone.texts = [2], [()]
    assert beam_search(alone, 1, 2, LONGEST) == together[2:]
