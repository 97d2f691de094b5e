"""Environments as scores: which cases they see, what is missing, and that each is withheld alone."""

import dataclasses

import pytest

from tasks.metrics.isolated.environment import make, shipped
from tasks.protocols import Prediction
from tasks.scoring.context import Context
from tasks.scoring.isolated import isolated_scores

RECIPE = """
title: Words
version: "1"
values: {count: {better: higher, missing: 0}, least: {}}
corpus: {rows: {}}
"""
SCRIPT = """
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
with open(sys.argv[2], "w") as out:
    for row in rows:
        count = len(row["prediction"].split()) + 100 * len(row["references"]) + 1000 * ("image" in row)
        print(json.dumps({"id": row["id"], "values": {"count": count, "least": 1}}), file=out)
    print(json.dumps({"corpus": {"rows": len(rows)}}), file=out)
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Makes an environment of a changed recipe in the folder of weights."""
    for name in shipped():
        monkeypatch.delenv(f"MEDIM_{name.upper()}", raising=False)
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path / "weights"))

    def made(more="", script=SCRIPT, name="words"):
        folder = tmp_path / "recipes" / name
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(RECIPE.replace("title: Words", f"title: {name.title()}") + more)
        (folder / "metric.py").write_text(script)
        return make(str(folder), tmp_path / "weights" / name)

    return made


@pytest.fixture
def cases(world):
    return [dataclasses.replace(case, domain="chest-xray", report="left effusion") for case in world.cases[:20]]


def scores(task, cases, predictions, title="Words"):
    found = isolated_scores(task, cases, predictions, Context())
    return {score.metric: score for score in found if score.metric.startswith(title)}


def test_reports_have_a_mean_over_patients_and_a_signature(environment, cases):
    made = environment()
    found = scores("report-generation", cases, [Prediction(case.id, report="no effusion") for case in cases])
    count = found["Words, count"]
    assert (count.value, count.n, count.coverage, count.higher_is_better) == (102, 20, 1, True)
    assert count.additive.combine == "mean"
    several = [dataclasses.replace(case, other_reports=("small effusion",)) for case in cases]
    answers = [Prediction(case.id, report="no effusion") for case in cases]
    assert scores("report-generation", several, answers)["Words, count"].value == 202
    assert made.signature.items() <= count.signature.items()
    assert (found["Words, rows"].value, found["Words, rows"].higher_is_better) == (20, None)


def test_a_missing_report_has_the_value_that_the_recipe_states_or_withholds(environment, cases):
    environment()
    found = scores("report-generation", cases, [Prediction(case.id, report="no effusion") for case in cases[5:]])
    assert found["Words, count"].value == pytest.approx(0.75 * 102)
    assert found["Words, count"].coverage == 0.75
    assert found["Words, least"].reason == found["Words, rows"].reason == "5 of 20 answers are missing"
    nothing = scores("report-generation", cases, [])
    assert nothing["Words, count"].value == 0


def test_tasks_domains_and_images_are_as_the_recipe_says(environment, cases, world):
    environment("tasks: [joint-generation, image-generation]\nimages: true\ndomains: [chest-xray]\n")
    answers = [Prediction(case.id, image=case.image, report="no effusion") for case in cases]
    assert scores("report-generation", cases, answers) == {}
    pair, image = (scores(task, cases, answers)["Words, count"] for task in ("joint-generation", "image-generation"))
    assert (pair.value, image.value) == (1002, 1102)
    assert not pair.additive.paired
    assert image.additive.paired
    other = [dataclasses.replace(case, domain="pathology") for case in cases[:3]] + cases[3:]
    assert scores("image-generation", other, answers)["Words, count"].n == 17
    blank = scores("image-generation", cases, [Prediction(case.id, report="x") for case in cases])
    assert (blank["Words, count"].value, blank["Words, count"].coverage) == (0, 0)


def test_one_that_fails_is_withheld_alone(environment, cases):
    environment()
    environment(script="raise SystemExit('out of memory')", name="hungry")
    answers = [Prediction(case.id, report="no effusion") for case in cases]
    failed = scores("report-generation", cases, answers, "Hungry")
    assert list(failed) == ["Hungry, count"]
    assert failed["Hungry, count"].reason == "metric environment 'hungry' ended with status 1: out of memory"
    assert failed["Hungry, count"].signature["failed"]
    assert scores("report-generation", cases, answers)["Words, count"].value == 102


def test_a_broken_recipe_is_withheld_by_its_name(environment, cases, tmp_path):
    environment()
    (tmp_path / "weights" / "words" / "recipe.yaml").write_text("title: [")
    [score] = scores("report-generation", cases, [], "words").values()
    assert "recipe.yaml: broken YAML" in score.reason
    assert "failed" not in score.signature


def test_shipped_recipes_say_how_they_are_had(environment, cases, world):
    found = {score.metric: score for score in isolated_scores("report-generation", cases, [], Context())}
    assert set(found) == {"RadGraph F1 (radgraph-xl), RG_E", "RaTEScore", "GREEN", "RadCliQ-v1"}
    for score in found.values():
        assert score.reason.startswith(score.metric.partition(",")[0])
        assert "metric-environment make" in score.reason
    assert found["RadCliQ-v1"].higher_is_better is False
    assert isolated_scores("image-generation", cases, [], Context()) == []
    assert isolated_scores("report-generation", cases, [], world.context()) == []  # a data set with a report checker
