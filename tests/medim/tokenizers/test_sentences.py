"""Sentences in the text of a report, and which of its tokens belong to each."""

from itertools import pairwise

import pytest

from medim.tokenizers.report import ReportTokenizer
from medim.tokenizers.sentences import sentence_tokens, sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two!  Three?", ["One.", "Two!", "Three?"]),
        ("A nodule of 1.5 cm.\nNo effusion", ["A nodule of 1.5 cm.", "No effusion"]),
        ("  leading.", ["leading."]),
        (" \n ", []),
        ("...", ["..."]),
    ],
)
def test_sentences(text, parts):
    found = sentences(text)
    assert [text[part].strip() for part in found] == parts
    assert not found or (found[0].start, found[-1].stop) == (0, len(text))


def test_every_token_belongs_to_one_sentence(squares):
    reports = ReportTokenizer.train((squares.pair("train", i).report for i in range(32)), 300, 16)
    text = "the square is red.  no circle. the square"
    spans = [tokens for _, tokens in sentence_tokens(reports, text)]
    assert spans[0].start == 0
    assert spans[-1].stop == len(reports.ids(text))
    assert all(a.stop == b.start for a, b in pairwise(spans))
    ids = reports.ids(text)
    assert [reports.tokenizer.decode(ids[span]).strip() for span in spans] == ["the square is red.", "no circle.", "the square"]
