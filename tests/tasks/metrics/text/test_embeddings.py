import math

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from tasks.metrics.text import embeddings as texts
from tasks.metrics.text.embeddings import SentenceEncoder, WeightedWords, text_space, unit

KNOWN = ["left effusion", "left nodule", "no effusion", "no effusion"]


def test_weights_are_those_of_the_formula():
    words = WeightedWords(KNOWN)
    # In two texts or more: effusion 3, left 2, no 2, "no effusion" 2.
    row = words.rows(["Effusion, effusion left"])[0]
    effusion = (1 + math.log(2)) * (1 + math.log(5 / 4))
    left = 1 + math.log(5 / 3)
    length = math.hypot(effusion, left)
    assert sorted(row[row > 0].tolist()) == pytest.approx(sorted([effusion / length, left / length]))
    assert words.rows(["nothing known"]).tolist() == [[0.0] * 4]


def test_equal_texts_are_equal_and_the_fingerprint_follows_the_texts():
    words = WeightedWords(KNOWN)
    rows = words.rows(["no effusion", "NO  effusion."])
    assert rows[0] == pytest.approx(rows[1])
    assert words.fingerprint == WeightedWords(KNOWN).fingerprint
    assert words.fingerprint != WeightedWords([*KNOWN, "no effusion"]).fingerprint


def test_a_text_space_is_that_of_weighted_words_without_the_encoder(monkeypatch):
    monkeypatch.setattr(texts, "find_spec", lambda name: None)
    assert isinstance(text_space(KNOWN), WeightedWords)


def test_the_encoder_is_the_mean_over_real_tokens_at_length_one(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "left", "right", "effusion"]))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertModel(config).save_pretrained(tmp_path)
    encoder = SentenceEncoder(tmp_path)
    alone, padded = encoder.rows(["left"])[0], encoder.rows(["left", "right effusion right effusion"])[0]
    assert alone == pytest.approx(padded, abs=1e-6)  # padding has no part in the mean
    assert np.linalg.norm(alone) == pytest.approx(1)
    assert len(encoder.fingerprint) > 8


def test_unit_leaves_nothing_at_nothing():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]
