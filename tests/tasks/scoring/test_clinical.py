import dataclasses

import pytest

from tasks.scoring.clinical import clinical_scores
from tasks.scoring.context import Context

CHEST = ("Small left pleural effusion.", "No pneumothorax. The heart is enlarged.", "Clear lungs. No effusion.")
PATHOLOGY = ("Squamous cell carcinoma of the lung.", "No atypia in the breast.")


@pytest.fixture
def cases(world, monkeypatch):
    for name in ("MEDIM_CHEXBERT", "MEDIM_BENCH_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    texts = [("chest-xray", text) for text in CHEST] + [("pathology", text) for text in PATHOLOGY]
    return [
        dataclasses.replace(case, domain=domain, report=text) for case, (domain, text) in zip(world.cases, texts, strict=False)
    ]


def scores(cases, reports):
    return {score.metric: score for score in clinical_scores(cases, reports, Context())}


def test_each_domain_has_its_own(cases):
    found = scores(cases, [case.report for case in cases])
    rules = "rule-based chest labels v2 (not CheXbert), micro-F1-14, uncertain positive"
    assert (found[rules].value, found[rules].n, found[rules].coverage) == (1, 3, 1)
    assert found[rules].signature["support"]["Pleural Effusion"] == 1
    assert len(found[rules].signature["labeller_hash"]) == 16
    entities = found["caption-entity F1 (term list v2)"]
    assert (entities.value, entities.n) == (1, 2)
    assert sum(name.startswith("rule-based") for name in found) == 6


def test_none_is_named_like_an_item_of_a_breakdown(cases):
    """`group: item` is a detail on the leaderboard, which is neither compared nor ranked."""
    assert not [name for name in scores(cases, [case.report for case in cases]) if ": " in name]


def test_what_is_missing_states_nothing(cases):
    """Half of the reports: what is left is right, and the rest is missed."""
    found = scores(cases, [CHEST[0], None, None, PATHOLOGY[0], None])
    rules = found["rule-based chest labels v2 (not CheXbert), micro-F1-14, uncertain positive"]
    assert rules.value == pytest.approx(2 / (2 + 2))  # effusion; without cardiomegaly and no finding
    assert rules.coverage == pytest.approx(1 / 3)
    assert found["caption-entity F1 (term list v2)"].value == pytest.approx(4 / (4 + 2))


def test_a_flipped_negation_costs(cases):
    flipped = ["No pleural effusion.", "Pneumothorax. The heart is not enlarged.", CHEST[2], *PATHOLOGY]
    assert scores(cases, flipped)["rule-based chest labels v2 (not CheXbert), micro-F1-5, uncertain positive"].value == 0


def test_what_is_not_installed_says_what_would_provide_it(cases):
    found = scores(cases, list(CHEST + PATHOLOGY))
    assert found["CheXbert, micro-F1-14, uncertain positive"].value is None
    assert "chexbert.pth" in found["CheXbert, micro-F1-14, uncertain positive"].reason
    withheld = {name for name, score in found.items() if score.signature.get("unavailable")}
    assert withheld == {"CheXbert, micro-F1-14, uncertain positive"}


def test_a_checker_of_the_data_set_stands_alone(world, cases):
    assert clinical_scores(cases, list(CHEST + PATHOLOGY), world.context()) == []
