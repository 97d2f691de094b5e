"""A split is encoded once, and its unigram code is what it says."""

import math

import pytest
import torch

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
    assert torch.equal(first.image, images.encode_images([squares.pair("train", i).image for i in range(32)]))
    monkeypatch.setattr(ImageTokenizer, "encode_images", None)
    again = tokenise_split(squares, "train", images, reports, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(vars(first).values(), vars(again).values(), strict=True))


def test_another_canvas_length_is_another_entry(tokenizers, squares, tmp_path):
    images, reports = tokenizers
    tokenise_split(squares, "val", images, reports, tmp_path)
    tokenise_split(squares, "val", images, ReportTokenizer(reports.tokenizer, 12), tmp_path)
    assert len([*tmp_path.glob("tokens-*.safetensors")]) == 2


def test_first_sentence():
    assert first_sentence("chest x-ray. small nodule.") == "chest x-ray."
    assert first_sentence("no stop") == "no stop"


def test_unigram_code_by_hand():
    class Two:
        size = 4

        @staticmethod
        def lengths(rows):
            return torch.full((len(rows),), rows.shape[1])

    def split(rows):
        report = torch.tensor(rows)
        zero = torch.zeros(len(rows), dtype=torch.long)
        return TokenSplit(report, report, zero, zero, zero)

    train, heldout = split([[0, 1], [0, 2], [0, 2]]), split([[0, 3]])
    # Position 0: one id seen, so (3 + 1) / (3 + 2); position 1: two ids seen, an unseen one costs 1 / (3 + 3).
    expected = -(math.log(4 / 5) + math.log(1 / 6)) / 2
    assert math.isclose(unigram_nats(train, heldout, Two()), expected)
