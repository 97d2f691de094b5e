from itertools import product

import pytest
import torch

from tasks.downstream.beam import beam_search
from tasks.downstream.words import END

IDS, LONGEST = 4, 4


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
