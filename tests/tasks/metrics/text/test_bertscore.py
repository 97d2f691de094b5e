"""BERTScore by the formula, by hand and as the package bert-score computes it on the same weights."""

import json

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from tasks.metrics.text.bertscore import BertScore
from tests.tasks.tiny_encoder import WORDS, write_encoder

REFERENCES = [
    "No pleural effusion. The heart is enlarged.",
    "Small left effusion.",
    "Lungs clear. Heart is small.",
    "Clear lung.",
]
HYPOTHESES = ["Left pleural effusion. The heart is enlarged.", "small right effusion", "", "No pleural effusion " * 20]
PACKAGE = {
    False: [[0.1222408, 0.4165506, 0, 0.2267783], [0.1179955, 0.4250276, 0, 0.2282401], [0.1200806, 0.4207464, 0, 0.2275068]],
    True: [[0.1220615, 0.4146953, 0, 0.2268927], [0.1182594, 0.424459, 0, 0.2284909], [0.1201304, 0.4195204, 0, 0.227689]],
}
"""P, R and F1 of bert-score 0.3.13 at layer 9, without and with idf of the references."""


@pytest.mark.parametrize("idf", [False, True])
def test_values_are_those_of_the_package(tmp_path, idf):
    write_encoder(tmp_path)
    (tmp_path / "bertscore.yaml").write_text(f"idf: {str(idf).lower()}\n")
    scorer = BertScore(tmp_path)
    assert scorer.layer == 9
    np.testing.assert_allclose(scorer.scores(REFERENCES, HYPOTHESES).T, PACKAGE[idf], atol=1e-5)


def test_it_is_the_formula(tmp_path):
    model = write_encoder(tmp_path)
    (tmp_path / "bertscore.yaml").write_text("layer: 3\n")

    def vectors(text):
        ids = [2, *(WORDS.index(word) for word in text.split()), 3]
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[3][0]
        return (states / states.norm(dim=1, keepdim=True)).detach().numpy()

    x, y = vectors("small left effusion"), vectors("no right effusion .")
    similar = x @ y.T
    recall, precision = similar.max(1)[1:-1].mean(), similar.max(0)[1:-1].mean()
    [found] = BertScore(tmp_path).scores(["small left effusion"], ["no right effusion ."])
    assert found == pytest.approx([precision, recall, 2 * precision * recall / (precision + recall)], abs=1e-6)


def test_a_text_is_nearest_to_itself_and_a_missing_one_to_nothing(tmp_path):
    write_encoder(tmp_path)
    found = BertScore(tmp_path).scores(["small left effusion", "clear lung", "clear lung"], ["small left effusion", None, " "])
    assert found == pytest.approx(np.array([[1.0] * 3, [0.0] * 3, [0.0] * 3]))


def test_a_baseline_rescales(tmp_path):
    write_encoder(tmp_path)
    plain = BertScore(tmp_path)
    (tmp_path / "baseline.tsv").write_text("LAYER,P,R,F\n8,0,0,0\n9,0.2,0.1,0.15\n")
    scorer = BertScore(tmp_path)
    before, after = (one.scores(REFERENCES, HYPOTHESES) for one in (plain, scorer))
    assert after == pytest.approx((before - [0.2, 0.1, 0.15]) / [0.8, 0.9, 0.85])
    assert (scorer.details["rescaled"], plain.details["rescaled"]) == (True, False)
    assert scorer.details["encoder_hash"] != plain.details["encoder_hash"]
    (tmp_path / "baseline.tsv").write_text("LAYER,P,R,F\n8,0,0,0\n")
    with pytest.raises(UserError, match="has no row of LAYER 9"):
        BertScore(tmp_path)


def test_the_layer_is_stated_where_it_is_not_known(tmp_path):
    write_encoder(tmp_path, layers=2)
    with pytest.raises(
        UserError, match=r"the best layer of a bert of 2 layers is not known: write 'layer: N' into .*bertscore\.yaml"
    ):
        BertScore(tmp_path)
    (tmp_path / "bertscore.yaml").write_text("layer: 3\n")
    with pytest.raises(UserError, match="field 'layer': 3 is not from 0 to 2"):
        BertScore(tmp_path)
    (tmp_path / "bertscore.yaml").write_text("layers: 1\n")
    with pytest.raises(UserError, match="unknown field 'layers'; did you mean 'layer'"):
        BertScore(tmp_path)


def test_weights_that_lack_a_layer_are_refused(tmp_path):
    write_encoder(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 13}))
    with pytest.raises(UserError, match=r"16 of \d+ tensors are missing \(encoder\.layer\.12"):
        BertScore(tmp_path)
