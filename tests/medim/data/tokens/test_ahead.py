"""Tokens made while they are asked for: those of the whole split, in the order of need, each once, whoever asks."""

import threading
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.data.tokens import ahead as token_ahead
from medim.data.tokens.ahead import TokensAhead, pieces
from medim.data.tokens.cache import tokenise_split
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer

ORDER = np.random.default_rng(0).permutation(32)[:20]


@pytest.fixture
def tokenizers(tokenizer_folder, squares):
    reports = ReportTokenizer.train([squares.pair("train", i).report for i in range(8)], 300, 16)
    return ImageTokenizer.from_pretrained(tokenizer_folder), reports


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """How many images each call of the tokenizer got."""
    monkeypatch.setattr(token_ahead, "FIRST", 3)
    monkeypatch.setattr(token_ahead, "LARGEST", 8)
    calls, encode = [], ImageTokenizer.encode_images

    def counted(self, pictures, *arguments):
        calls.append(len(pictures))
        return encode(self, pictures, *arguments)

    monkeypatch.setattr(ImageTokenizer, "encode_images", counted)
    return calls


def test_rows_in_need_are_those_of_the_whole_split_and_no_others_are_made(tokenizers, squares, tmp_path, encoded):
    whole = tokenise_split(squares, "train", *tokenizers)
    encoded.clear()
    with TokensAhead(squares, "train", *tokenizers, tmp_path, 32, ORDER) as ahead:
        assert len(ahead) == 32
        for row in ORDER:
            image, report, prompt = ahead.row(row)
            assert torch.equal(image, whole.image[row : row + 1])
            assert torch.equal(report, whole.report[row : row + 1])
            assert prompt == int(whole.prompt[row])
        seen = ahead.finish()
    assert torch.equal(seen.image[:], whole.image[:][np.sort(ORDER)])
    assert encoded == [3, 6, 8, 3]
    encoded.clear()
    again = tokenise_split(squares, "train", *tokenizers, tmp_path)  # makes what is missing
    assert sum(encoded) == 12
    assert all(torch.equal(a[:], b[:]) for a, b in zip(vars(whole).values(), vars(again).values(), strict=True))
    with TokensAhead(squares, "train", *tokenizers, tmp_path, 32, np.arange(32)) as ahead:
        assert torch.equal(ahead.known().report[:], whole.report[:])
    assert sum(encoded) == 12


def test_another_process_finds_what_the_one_that_makes_them_has_made(tokenizers, squares, tmp_path, encoded):
    with TokensAhead(squares, "train", *tokenizers, tmp_path, 32, ORDER, makes=False) as other:
        found = []
        asking = threading.Thread(target=lambda: found.extend(other.row(row)[0] for row in ORDER))
        asking.start()
        with TokensAhead(squares, "train", *tokenizers, tmp_path, 32, ORDER) as ahead:
            made = [ahead.row(row)[0] for row in ORDER]
        asking.join(30)
    assert len(found) == len(made)
    assert all(torch.equal(a, b) for a, b in zip(found, made, strict=True))
    assert sum(encoded) == 20


def test_one_that_is_interrupted_leaves_whole_pieces_and_the_next_goes_on(tokenizers, squares, tmp_path, encoded):
    with suppress(KeyboardInterrupt), TokensAhead(squares, "train", *tokenizers, tmp_path, 32, ORDER) as ahead:
        ahead.row(ORDER[0])
        raise KeyboardInterrupt
    assert len(list(tmp_path.glob("tokens-*/*.arrow"))) == len(encoded)
    with TokensAhead(squares, "train", *tokenizers, tmp_path, 32, ORDER) as ahead:
        assert len(ahead.finish()) == 20
    assert sum(encoded) == 20
    assert not list(tmp_path.glob("tokens-*/.*"))


def test_a_mistake_in_the_data_is_raised_where_the_training_waits(tokenizers, squares, tmp_path, encoded):
    class Silent(type(squares)):
        def pair(self, split, index):
            return replace(super().pair(split, index), report=None if index == ORDER[-1] else "a.")

    message = f"pair 'train-{ORDER[-1]}' of data set 'squares' has no report"
    with TokensAhead(Silent(), "train", *tokenizers, tmp_path, 32, ORDER) as ahead, pytest.raises(UserError, match=message):
        list(map(ahead.row, ORDER))


def test_a_row_that_nobody_needs_is_no_endless_wait(tokenizers, squares, tmp_path, encoded):
    with (
        TokensAhead(squares, "train", *tokenizers, tmp_path, 32, ORDER) as ahead,
        pytest.raises(ValueError, match="not in need"),
    ):
        ahead.row(int(np.setdiff1d(np.arange(32), ORDER)[0]))


def test_pieces_grow_and_hold_every_row_once():
    order = np.random.default_rng(1).permutation(5000)
    cut = pieces(order)
    assert [len(piece) for piece in cut] == [256, 512, 1024, 1024, 1024, 1024, 136]
    assert set(cut[0]) == set(order[:256])
    assert sorted(np.concatenate(cut)) == list(range(5000))
    assert all((np.diff(piece) > 0).all() for piece in cut)
