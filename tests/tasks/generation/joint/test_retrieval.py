from dataclasses import replace

import pytest

from tasks import task_named
from tasks.generation.joint.retrieval import retrieval_scores
from tasks.protocols import Prediction
from tasks.scoring.scores import Scorer

TASK = task_named("joint-generation")


def score(world, predictions, dataset=True, cases=None):
    cases = world.cases if cases is None else cases
    context = replace(world.context(), dataset=world if dataset else None)
    images, reports = [p.image for p in predictions], [p.report for p in predictions]
    return {s.metric: s for s in retrieval_scores(cases, images, reports, Scorer(context, len(cases), 1.0))}


@pytest.fixture
def anchors(world):
    return {anchor.name: anchor.predictions for anchor in TASK.anchors(world.cases, world.train, None, 0)}


def test_real_pairs_are_one_and_shuffled_ones_are_chance(world, anchors):
    real, shuffled = score(world, anchors["real"]), score(world, anchors["shuffled"])
    assert list(real) == [
        f"{prefix}retrieval R@{k} ({way})"
        for k in (1, 5, 10)
        for way in ("image to report", "report to image")
        for prefix in ("", "anchored ")
    ]
    assert real["anchored retrieval R@10 (image to report)"].value == pytest.approx(1)
    assert shuffled["anchored retrieval R@10 (image to report)"].value == pytest.approx(0, abs=0.25)
    assert shuffled["retrieval R@10 (image to report)"].value < real["retrieval R@10 (image to report)"].value
    signature = real["retrieval R@5 (report to image)"].signature
    assert (signature["pool"], signature["training_pairs"], signature["texts"]) == (80, 120, "tf-idf of words and word pairs")
    assert signature["features"] == "pooled"


def test_one_pair_again_and_again_finds_nothing(world, anchors):
    constant = score(world, anchors["constant"])
    assert constant["retrieval R@10 (image to report)"].value == 0
    assert constant["anchored retrieval R@10 (report to image)"].value < 0


def test_missing_pairs_withhold_it(world, anchors):
    predictions = [replace(p, report=None) if index < 3 else p for index, p in enumerate(anchors["real"])]
    scores = score(world, predictions)
    assert {s.reason for s in scores.values()} == {"3 of 80 pairs are missing"}


@pytest.mark.parametrize(
    ("count", "dataset", "reason"),
    [(10, True, "more than 10 pairs are needed, here are 10"), (80, False, "there are no training pairs to fit")],
)
def test_what_it_needs_is_told(world, anchors, count, dataset, reason):
    scores = score(world, anchors["real"][:count], dataset, world.cases[:count])
    assert all(s.value is None and s.reason.startswith(reason) for s in scores.values())


def test_few_training_pairs_are_no_space(world, anchors):
    world.train = world.train[:20]
    reason = "a common space of images and reports needs 50 training pairs, here are 20"
    assert {s.reason for s in score(world, anchors["real"]).values()} == {reason}


def test_reports_that_tell_nothing_of_images_have_no_scale(world):
    """Cases whose reports are those of others: real pairs are no better than shuffled ones, and nothing can be put between."""
    others = [Prediction(c.id, image=c.image, report=world.cases[(i + 7) % 80].report) for i, c in enumerate(world.cases)]
    cases = [replace(case, report=other.report) for case, other in zip(world.cases, others, strict=True)]
    scores = score(world, others, cases=cases)
    anchored = scores["anchored retrieval R@1 (image to report)"]
    assert anchored.value is None
    assert "cannot be told apart" in anchored.reason
