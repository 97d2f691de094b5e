"""Drift of cached samples on the shipped model, and as a line of the diagnosis."""

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.doctor import checkpoint as diagnosis
from benchmark.doctor.cache_drift import cache_drift
from medim.pipeline import MeDiMPipeline


@pytest.fixture(scope="module")
def pipeline():
    shipped = MeDiMPipeline.from_pretrained("phantom-tiny", "cpu")
    shipped.configure({"image.steps": 6, "report.steps": 6, "report.stop": 0.5, "image.start": 0.5, "cache.refresh": 1})
    return shipped


def test_no_cache_no_drift_and_a_cache_saves(pipeline):
    exact, cached = cache_drift(pipeline, [1, 2], (1, 4))
    assert (exact.refresh, exact.changed, exact.active) == (1, 0.0, 1.0)
    assert cached.refresh == 4
    assert 0 < cached.active < 0.9
    layout = pipeline.model.config.layout
    weight = layout.image_length / (layout.image_length + layout.report_length)
    assert cached.changed == pytest.approx(weight * cached.image_changed + (1 - weight) * cached.report_changed, abs=1e-6)
    assert len(exact.images) == len(cached.reports) == 2
    assert pipeline.sampler.cache.refresh == 1
    (alone,) = cache_drift(pipeline, [1, 2], (4,))
    assert (alone.changed, alone.active) == (cached.changed, cached.active)


def test_the_diagnosis_tells_it_and_warns_of_a_models_own(pipeline, monkeypatch):
    monkeypatch.setattr(diagnosis, "REFRESHES", (1, 3))
    check = diagnosis.cache_drifts(pipeline, None, 2, 0)
    assert check.verdict == "pass"
    lines = check.figure.split("\n")
    assert [line.split(":")[0] for line in lines] == ["refresh 1", "refresh 3"]
    assert "0.0% of the tokens differ" in lines[0]
    assert "100% of the positions computed" in lines[0]
    sampler = pipeline.sampler
    pipeline.configure({"cache.refresh": 3})
    monkeypatch.setattr(diagnosis, "DRIFT", -1.0)
    warned = diagnosis.cache_drifts(pipeline, None, 2, 0)
    pipeline.sampler = sampler
    assert (warned.verdict, "cache.refresh of 3" in warned.advice) == ("warn", True)


def test_a_model_that_cannot_lend_states_says_so(pipeline, monkeypatch):
    monkeypatch.setattr(pipeline.model.config, "attention", "causal")
    check = diagnosis.cache_drifts(pipeline, None, 1, 0)
    assert check.verdict == "unknown"
    assert "bidirectional attention" in check.figure


def test_diagnose_has_the_option():
    assert "--cache-drift N" in CliRunner().invoke(main, ["diagnose", "--help"]).output
