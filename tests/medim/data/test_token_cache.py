"""A split is encoded once, and its unigram code is what it says."""

import math

import pytest
import torch

from medim.data import token_cache
from medim.data.token_cache import TokenSplit, first_sentence, tokenise_split, unigram_nats
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer


@pytest.fixture
def tokenizers(tokenizer_folder, squares):
    reports = ReportTokenizer.train([squares.pair("train", i).report for i in range(8)], 300, 16)
    return ImageTokenizer.from_pretrained(tokenizer_folder), reports


def test_the_second_reading_encodes_nothing(tokenizers, squares, tmp_path, monkeypatch):
    images, reports = tokenizers
    first = tokenise_split(squares, "train", images, reports, tmp_path, batch=5)
    assert first.image.shape == (32, 16)
    assert torch.equal(first.image[:], images.encode_images([squares.pair("train", i).image for i in range(32)]))
    monkeypatch.setattr(ImageTokenizer, "encode_images", None)
    again = tokenise_split(squares, "train", images, reports, tmp_path)
    assert all(torch.equal(a[:], b[:]) for a, b in zip(vars(first).values(), vars(again).values(), strict=True))


def test_another_canvas_length_is_another_entry(tokenizers, squares, tmp_path):
    images, reports = tokenizers
    tokenise_split(squares, "val", images, reports, tmp_path)
    tokenise_split(squares, "val", images, ReportTokenizer(reports.tokenizer, 12), tmp_path)
    assert len([*tmp_path.glob("tokens-*/tokens.json")]) == 2


def test_first_sentence():
    assert first_sentence("chest x-ray. small nodule.") == "chest x-ray."
    assert first_sentence("no stop") == "no stop"


class Two:
    """Two positions of four ids, no padding."""

    size = 4

    @staticmethod
    def lengths(rows):
        return torch.full((len(rows),), rows.shape[1])


def reports_only(rows) -> TokenSplit:
    report = torch.tensor(rows)
    zero = torch.zeros(len(rows), dtype=torch.long)
    return TokenSplit(report, report, zero, zero, zero)


def test_unigram_code_by_hand(monkeypatch):
    monkeypatch.setattr(token_cache, "BACK_OFF", (2,))
    monkeypatch.setattr(token_cache, "SMOOTHING", (0.5,))
    train, heldout = reports_only([[0, 1], [0, 2], [0, 2]]), reports_only([[0, 3]])
    # Six tokens in all: q(0) = 3.5 / 8, q(3) = 0.5 / 8; three training reports at each position.
    expected = -(math.log((3 + 2 * 3.5 / 8) / 5) + math.log((0 + 2 * 0.5 / 8) / 5)) / 2
    assert math.isclose(unigram_nats(train, heldout, Two()), expected)


def test_unigram_code_is_a_distribution_over_all_ids(monkeypatch):
    monkeypatch.setattr(token_cache, "BACK_OFF", (3,))
    monkeypatch.setattr(token_cache, "SMOOTHING", (0.1,))
    train = reports_only([[0], [0], [2]])
    probabilities = [math.exp(-unigram_nats(train, reports_only([[token]]), Two())) for token in range(4)]
    assert math.isclose(sum(probabilities), 1)
