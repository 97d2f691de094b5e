"""Files and environments of metrics: ready with weights, else with the place where they are to be had."""

import json

import pytest

from benchmark.doctor.capabilities import _environments, _weights
from benchmark.doctor.finding import BROKEN, MISSING, NOTE, READY
from tasks.metrics.isolated.environment import read_recipe, shipped
from tasks.metrics.weights import SOURCES, variable
from tests.medim.perception.tiny_biomedclip import write_biomedclip
from tests.tasks.metrics.pair.test_alignment import write_clip
from tests.tasks.tiny_encoder import write_encoder


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    for name in ("MEDIM_BENCH_WEIGHTS", *map(variable, [*SOURCES, *shipped()])):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tasks.metrics.text.embeddings.find_spec", lambda name: None)


def findings():
    return {finding.name: finding for finding in [*_weights(), *_environments()]}


def test_what_is_missing_says_where_it_is_to_be_had():
    found = findings()
    for name, source in SOURCES.items():
        said = found[source.title]
        assert said.state == (NOTE if source.recipe else MISSING)
        assert source.source in said.provide
        assert source.licence in said.found + said.provide
        assert variable(name) in said.provide or source.recipe
    for name in shipped():
        said = found[f"environment {name}"]
        assert said.state == MISSING
        assert read_recipe(shipped()[name]).source in said.provide


def test_what_is_there_is_ready_and_what_is_damaged_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path))
    write_encoder(tmp_path / "bertscore")
    write_encoder(tmp_path / "minilm", layers=1)
    write_biomedclip(tmp_path / "biomedclip")
    write_clip(tmp_path / "plip")
    (tmp_path / "rad-dino").mkdir()
    for file in SOURCES["rad-dino"].files:
        (tmp_path / "rad-dino" / file).touch()
    (tmp_path / "chexbert").mkdir()
    for file in SOURCES["chexbert"].files:
        (tmp_path / "chexbert" / file).write_text("cut off")
    found = findings()
    ready = {"BERTScore", "report similarity", "BiomedCLIP", "PLIP", "RAD-DINO"}
    assert {name for name, finding in found.items() if finding.state == READY} == ready
    assert "encoder bert, layer 9 of 12" in found["BERTScore"].found
    assert found["RAD-DINO"].found.endswith("rad-dino: --features transformers:DIR")
    assert found["CheXbert"].state == MISSING
    assert "chexbert.pth' is no torch file" in found["CheXbert"].found
    assert BROKEN not in {finding.state for finding in found.values()}
    assert json.dumps([finding.found for finding in found.values()]).isprintable()
