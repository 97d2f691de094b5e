"""A split is encoded once, and its unigram code is what it says."""

import json
import math
from dataclasses import replace

import pytest
import torch

from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.data.phantom.worlds import default_world
from medim.data.tokens import cache as token_cache
from medim.data.tokens.cache import TokenSplit, first_sentence, tokenise_split, unigram_nats
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.training.draws import weighted_rows


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


def test_another_tokenizer_of_the_same_shape_is_another_entry(tokenizers, squares, tmp_path):
    """Its tokens mean something else: those of the first are not taken for them."""
    images, reports = tokenizers
    other_images = ImageTokenizer.build(16, 4, 8, channels=(8, 8, 8), latent_channels=4, seed=1)
    other_reports = ReportTokenizer.train(["the square is grey. a circle."] * 4, 300, 16)
    for one in ((images, reports), (other_images, reports), (images, other_reports)):
        cached = tokenise_split(squares, "val", *one, tmp_path)
        fresh = tokenise_split(squares, "val", *one)
        assert torch.equal(cached.image[:], fresh.image[:])
        assert torch.equal(cached.report[:], fresh.report[:])
    assert len([*tmp_path.glob("tokens-*/tokens.json")]) == 3


def test_a_killed_tokenisation_goes_on_at_the_missing_part(tokenizers, squares, tmp_path, monkeypatch):
    images, reports = tokenizers
    monkeypatch.setattr(token_cache, "PART", 8)
    whole = tokenise_split(squares, "train", images, reports)
    encode, encoded = ImageTokenizer.encode_images, []

    def encode_three(self, pictures):
        if len(encoded) == 3:
            raise KeyboardInterrupt
        encoded.append(len(pictures))
        return encode(self, pictures)

    monkeypatch.setattr(ImageTokenizer, "encode_images", encode_three)
    with pytest.raises(KeyboardInterrupt):
        tokenise_split(squares, "train", images, reports, tmp_path)
    assert len([*tmp_path.glob("tokens-*/*.arrow")]) == 3
    encoded.clear()
    again = tokenise_split(squares, "train", images, reports, tmp_path)
    assert encoded == [8]
    assert all(torch.equal(a[:], b[:]) for a, b in zip(vars(whole).values(), vars(again).values(), strict=True))


def test_a_larger_limit_adds_parts(tokenizers, squares, tmp_path, monkeypatch):
    images, reports = tokenizers
    monkeypatch.setattr(token_cache, "PART", 8)
    tokenise_split(squares, "train", images, reports, tmp_path, limit=12)
    some = {path.name for path in tmp_path.glob("tokens-*/*.arrow")}
    assert some == {"000000000-000000008.arrow", "000000008-000000012.arrow"}
    assert len(tokenise_split(squares, "train", images, reports, tmp_path, limit=20)) == 20
    assert {path.name for path in tmp_path.glob("tokens-*/*.arrow")} - some == {
        "000000012-000000016.arrow",
        "000000016-000000020.arrow",
    }


def test_columns_take_the_smallest_types_and_terms_travel(tokenizers, squares, tmp_path):
    images, reports = tokenizers
    tokens = tokenise_split(squares, "val", images, reports, tmp_path)
    assert [column.parts[0].dtype.name for column in vars(tokens).values()] == ["uint16", "int32", "int32", "int32", "uint8"]
    (folder,) = tmp_path.glob("tokens-*")
    assert json.loads((folder / "tokens.json").read_text())["terms"] == "CC0-1.0"
    pieces = list(tokens.chunks(3))
    assert [len(piece) for piece in pieces] == [3, 3, 2]
    assert torch.equal(torch.cat([piece.report for piece in pieces]), tokens.report[:])


def test_reading_processes_change_nothing(tokenizers):
    images, reports = tokenizers
    here, there = (tokenise_split(default_world(), "val", images, reports, limit=20, batch=8, workers=n) for n in (0, 1))
    assert all(torch.equal(a[:], b[:]) for a, b in zip(vars(here).values(), vars(there).values(), strict=True))


def test_truncated_reports_are_counted(tokenizers, squares, tmp_path):
    images, reports = tokenizers
    length = len(reports.ids(squares.pair("train", 0).report))
    fits = tokenise_split(squares, "train", images, ReportTokenizer(reports.tokenizer, length + 1), limit=1)
    cut = tokenise_split(squares, "train", images, ReportTokenizer(reports.tokenizer, length), limit=1)
    assert (int(fits.truncated[0]), int(cut.truncated[0])) == (0, 1)


def test_a_pair_without_a_report_is_named(tokenizers, squares):
    class Silent(type(squares)):
        def pair(self, split, index):
            return replace(super().pair(split, index), report=None if index == 5 else "a.")

    with pytest.raises(UserError, match="pair 'train-5' of data set 'squares' has no report"):
        tokenise_split(Silent(), "train", *tokenizers)
    empty = Silent()
    empty.size = lambda split: 0
    with pytest.raises(UserError, match="has no pairs in split 'val'"):
        tokenise_split(empty, "val", *tokenizers)


def test_mixed_real_domains_are_tokenised(tokenizers, shared_data, tmp_path):
    data = load_dataset(f"{shared_data / 'cxr'}:train=10%+{shared_data / 'pathology'}:train=5%,weight=2")
    tokens = tokenise_split(data, "train", *tokenizers, tmp_path)
    assert len(tokens) == data.size("train") == sum(part.size("train") for part in data.parts)
    rows = weighted_rows(data, len(tokens), seed=0)
    drawn = [data.pair("train", rows.row(k)).domain for k in range(30)]
    assert (drawn.count("chest-xray"), drawn.count("pathology")) == (10, 20)


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
