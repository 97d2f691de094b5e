from dataclasses import replace
from pathlib import Path

import pytest

from tasks import task_named
from tasks.generation.joint.judge import judge_scores
from tasks.metrics.pair.judge import Verdict
from tasks.scoring.scores import Scorer, coverage_of

TASK = task_named("joint-generation")
FOLDER = Path("some-judge")


class KnowsPairs:
    """Says 0.9 of a case's own pair and 0.2 of any other; refuses reports that hold `refused`."""

    name, fingerprint = "knows-pairs", "knows-1"

    def __init__(self, world, refused: str = "never") -> None:
        self.pairs = {(case.image.tobytes(), case.report) for case in world.cases}
        self.refused = refused
        self.asked = 0

    def __call__(self, images, reports):
        self.asked += len(images)
        scores = [
            0.9 if (image.tobytes(), report) in self.pairs else 0.2 for image, report in zip(images, reports, strict=True)
        ]
        return [
            Verdict(None if self.refused in report else score, str(score))
            for report, score in zip(reports, scores, strict=True)
        ]


def score(world, predictions, judge, cases=None):
    context = replace(world.context(), judge=FOLDER)
    context.cached[f"judge {FOLDER}"] = judge
    images, reports = [p.image for p in predictions], [p.report for p in predictions]
    scores, samples = judge_scores(
        cases or world.cases,
        images,
        reports,
        Scorer(context, len(cases or world.cases), coverage_of([p.report for p in predictions])),
    )
    return {s.metric: s for s in scores}, samples, context


def test_a_judge_that_fails_withholds_its_own_scores(world, anchors, monkeypatch):
    class Fails:
        name, fingerprint = "fails", "fails-1"

        def __call__(self, images, reports):
            raise RuntimeError("CUDA out of memory")

    found, samples, _ = score(world, anchors["real"], Fails())
    assert set(found) == {f"{name} (some-judge)" for name in ("judge score", "anchored judge score", "judge refusals")}
    assert {one.value for one in found.values()} == {None}
    assert {one.reason for one in found.values()} == {"judge 'some-judge' failed: RuntimeError: CUDA out of memory"}
    assert samples == [{}] * len(world.cases)


def test_a_judge_that_cannot_be_loaded_is_tried_once(world, anchors):
    context = replace(world.context(), judge=FOLDER)
    for _ in range(2):
        scores, _ = judge_scores(world.cases, [None], [None], Scorer(context, len(world.cases), 0.0))
        assert "is no folder" in scores[0].reason
    assert f"judge {FOLDER}" in context.cached


@pytest.fixture
def anchors(world):
    return {anchor.name: anchor.predictions for anchor in TASK.anchors(world.cases, world.train, None, 0)}


def test_the_mean_and_its_place_between_shuffled_and_real(world, anchors):
    found, samples, _ = score(world, anchors["real"], KnowsPairs(world))
    assert found["judge score (some-judge)"].value == pytest.approx(0.9)
    assert found["anchored judge score (some-judge)"].value == pytest.approx(1)
    assert found["judge refusals (some-judge)"].value == 0
    assert samples[0] == {"judge": 0.9}
    other, _, _ = score(world, anchors["shuffled"], KnowsPairs(world))
    assert other["anchored judge score (some-judge)"].value == pytest.approx(0, abs=0.1)
    signature = found["judge score (some-judge)"].signature
    assert (signature["judge"], signature["judge_weights"]) == ("knows-pairs", "knows-1")
    assert "Do they belong together?" in signature["prompt"]
    assert signature["decoding"] == "greedy, 16 tokens"


def test_a_second_system_judges_no_reference_again(world, anchors):
    judge = KnowsPairs(world)
    _, _, context = score(world, anchors["real"], judge)
    first = judge.asked
    judge_scores(world.cases, [c.image for c in world.cases], [c.report for c in world.cases], Scorer(context, 80, 1.0))
    assert first == 240
    assert judge.asked == 320


def test_missing_pairs_score_nothing(world, anchors):
    half = [replace(p, report=None) if index % 2 else p for index, p in enumerate(anchors["real"])]
    found, _, _ = score(world, half, KnowsPairs(world))
    assert found["judge score (some-judge)"].value == pytest.approx(0.45)
    assert {
        found[name].coverage
        for name in ("judge score (some-judge)", "anchored judge score (some-judge)", "judge refusals (some-judge)")
    } == {0.5}


def test_refusals_are_told_and_too_many_withhold_the_mean(world, anchors):
    few, samples, _ = score(world, anchors["real"], KnowsPairs(world, "case alpha beta"))
    rate = sum("case alpha beta" in case.report for case in world.cases) / 80
    assert 0 < rate <= 0.1
    assert few["judge refusals (some-judge)"].value == pytest.approx(rate)
    assert few["judge score (some-judge)"].coverage == 1
    assert few["judge score (some-judge)"].value == pytest.approx(0.9)
    assert {} in samples
    many, _, _ = score(world, anchors["real"], KnowsPairs(world, "case"))
    assert many["judge refusals (some-judge)"].value == 1
    assert many["judge score (some-judge)"].reason == "the judge's answers to 100% of the pairs are refused, more than 10%"
    assert set(many) == set(few)


def test_a_judge_that_cannot_tell_real_from_shuffled_is_no_scale(world, anchors):
    blind = KnowsPairs(world)
    blind.pairs = set()
    found, _, _ = score(world, anchors["real"], blind)
    assert found["judge score (some-judge)"].value == pytest.approx(0.2)
    assert "cannot be told apart" in found["anchored judge score (some-judge)"].reason


def test_without_a_judge_there_are_no_such_scores(world, anchors):
    assert judge_scores(world.cases, [None] * 80, [None] * 80, Scorer(world.context(), 80, 0.0)) == ([], [{}] * 80)
    scores, _ = TASK.score(world.cases, anchors["real"], world.context())
    assert not any("judge" in s.metric for s in scores)
