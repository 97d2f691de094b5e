import dataclasses
import os
import sys
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from tasks.metrics.clinical.radgraph import RadGraph
from tasks.scoring import clinical as clinical
from tasks.scoring.clinical import clinical_scores
from tasks.scoring.context import Context

CHEST = ("Small left pleural effusion.", "No pneumothorax. The heart is enlarged.", "Clear lungs. No effusion.")
PATHOLOGY = ("Squamous cell carcinoma of the lung.", "No atypia in the breast.")


@pytest.fixture
def cases(world, monkeypatch):
    for name in ("MEDIM_CHEXBERT", "MEDIM_RADGRAPH", "MEDIM_BENCH_WEIGHTS"):
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
    assert "radgraph" in found["RadGraph F1 (radgraph-xl), RG_E"].reason
    withheld = {name for name, score in found.items() if score.signature.get("unavailable")}
    assert withheld == {"CheXbert, micro-F1-14, uncertain positive", "RadGraph F1 (radgraph-xl), RG_E"}


def test_radgraph_is_a_mean_over_reports(cases, monkeypatch):
    graph = {"entities": {"1": {"tokens": "effusion", "label": "present", "relations": []}}}
    monkeypatch.setattr(clinical, "_radgraph", lambda: RadGraph(lambda texts: {str(i): graph for i in range(len(texts))}))
    monkeypatch.setattr(clinical, "version", lambda name: "0")
    found = scores(cases, [CHEST[0], None, CHEST[2], *PATHOLOGY])
    names = [f"RadGraph F1 (radgraph-xl), {name}" for name in ("RG_E", "RG_ER", "RG_bar_ER")]
    assert [found[name].value for name in names] == pytest.approx([2 / 3] * 3)


def test_radgraph_that_raises_loses_no_other_metric(cases, monkeypatch, tmp_path):
    """The package raises a plain Exception, in colours, where it cannot download; here it may not even try."""
    asked = []

    class Package:
        def __init__(self, **options):
            asked.append((os.environ["HF_HUB_OFFLINE"], constants.is_offline_mode()))
            raise Exception("\x1b[31mCannot download\x1b[0m the file radgraph-xl.tar.gz\nTraceback: none of your concern")

    monkeypatch.setitem(sys.modules, "radgraph", SimpleNamespace(RadGraph=Package, __spec__=object()))
    monkeypatch.setenv("MEDIM_RADGRAPH", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    clinical._radgraph.cache_clear()
    found = scores(cases, [case.report for case in cases])
    blank = found["RadGraph F1 (radgraph-xl), RG_E"]
    assert blank.value is None
    assert "Exception: Cannot download the file radgraph-xl.tar.gz" in blank.reason
    assert "\x1b" not in blank.reason
    assert "unpack radgraph-xl.tar.gz there" in blank.reason
    assert blank.signature["failed"]
    assert found["rule-based chest labels v2 (not CheXbert), micro-F1-14, uncertain positive"].value == 1
    assert found["caption-entity F1 (term list v2)"].value == 1
    assert asked == [("1", True)]
    assert "HF_HUB_OFFLINE" not in os.environ
    assert not constants.is_offline_mode()


def test_radgraph_names_its_model_and_weights(cases, monkeypatch, tmp_path):
    graph = {"entities": {"1": {"tokens": "effusion", "label": "present", "relations": []}}}
    package = SimpleNamespace(RadGraph=lambda **_: lambda texts: {str(i): graph for i in range(len(texts))}, __spec__=object())
    monkeypatch.setitem(sys.modules, "radgraph", package)
    monkeypatch.setattr(clinical, "version", lambda name: "0")
    (tmp_path / "radgraph-xl").mkdir()
    signatures = []
    for weights in (b"one", b"other"):
        (tmp_path / "radgraph-xl" / "weights.th").write_bytes(weights)
        monkeypatch.setenv("MEDIM_RADGRAPH", str(tmp_path))
        clinical._radgraph.cache_clear()
        signatures.append(scores(cases, [case.report for case in cases])["RadGraph F1 (radgraph-xl), RG_E"].signature)
    clinical._radgraph.cache_clear()
    assert {signature["parser_model"] for signature in signatures} == {"radgraph-xl"}
    assert signatures[0]["parser_weights"] != signatures[1]["parser_weights"]


def test_a_checker_of_the_data_set_stands_alone(world, cases):
    assert clinical_scores(cases, list(CHEST + PATHOLOGY), world.context()) == []
