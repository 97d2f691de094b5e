"""Alignment as scores: each model on its domains, withheld alone, with a reason where its folder is missing."""

import dataclasses

import pytest

from tasks.scoring import alignment
from tasks.scoring.alignment import alignment_scores
from tasks.scoring.context import Context
from tests.medim.perception.tiny_biomedclip import write_biomedclip

CLIP, PLIP = "image-report cosine (BiomedCLIP)", "image-report cosine (PLIP)"


@pytest.fixture
def cases(world, monkeypatch):
    for name in ("MEDIM_BIOMEDCLIP", "MEDIM_PLIP", "MEDIM_BENCH_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    alignment._aligner.cache_clear()
    domains = ["chest-xray"] * 6 + ["pathology"] * 2 + [None]
    return [dataclasses.replace(case, domain=domain) for case, domain in zip(world.cases, domains, strict=False)]


def scores(cases, images, context=None, paired=True):
    found = alignment_scores(cases, images, ["left effusion"] * len(cases), context or Context(), paired)
    return {score.metric: score for score in found}


def test_a_folder_gives_a_mean_over_the_cases_of_its_domains(cases, monkeypatch, tmp_path):
    write_biomedclip(tmp_path / "biomedclip")
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path))
    images = [case.image for case in cases]
    found = scores(cases, images)
    assert (found[CLIP].n, found[CLIP].coverage, found[CLIP].higher_is_better) == (8, 1, True)
    assert -1 < found[CLIP].value < 1
    assert len(found[CLIP].signature["aligner"]) == 16
    assert found[CLIP].additive.paired
    assert not scores(cases, images, paired=False)[CLIP].additive.paired
    missing = scores(cases, [None, *images[1:]])[CLIP]
    assert (missing.value, missing.coverage, missing.reason) == (None, 7 / 8, "1 of 8 pairs are not whole")
    assert "MEDIM_PLIP" in found[PLIP].reason
    assert found[PLIP].n == 2


def test_without_a_folder_there_is_a_reason_where_the_data_has_no_checker(cases, world):
    found = scores(cases, [case.image for case in cases])
    assert set(found) == {CLIP, PLIP}
    assert "huggingface.co/microsoft/BiomedCLIP" in found[CLIP].reason
    assert all(score.signature["unavailable"] for score in found.values())
    assert scores(cases, [case.image for case in cases], world.context()) == {}
