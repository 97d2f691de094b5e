import pytest

from tasks import task_named
from tasks.protocols import Prediction

TASK = task_named("report-generation")

pytestmark = pytest.mark.usefixtures("no_java")


def score(world, predictions, checkers=True):
    scores, samples = TASK.score(world.cases, predictions, world.context(checkers))
    return {s.metric: s for s in scores}, samples


def test_a_perfect_generator_is_perfect(world):
    predictions = TASK.generate(world.perfect(world.cases), world.cases, range(80))
    found, samples = score(world, predictions)
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", "macro finding F1"):
        assert found[name].value == pytest.approx(1, abs=1e-9)
        assert found[name].coverage == 1
    assert found["CIDEr"].value == pytest.approx(10)
    assert samples[0]["BLEU-4"] == pytest.approx(1, abs=1e-6)
    assert samples[0]["finding F1"] == 1
    assert set(samples[0]) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "finding F1"}


def test_anchors_give_the_scale(world):
    found = {a.name: score(world, a.predictions)[0] for a in TASK.anchors(world.cases, world.train, world.blur, 0)}
    assert list(found) == ["real", "shuffled", "constant", "nearest neighbour", "training copy"]
    assert found["real"]["macro finding F1"].value == 1
    assert 0.15 < found["shuffled"]["macro finding F1"].value < 0.45
    assert found["shuffled"]["BLEU-4"].value < 0.8
    assert found["constant"]["macro finding F1"].value < 0.35
    assert found["constant"]["distinct reports"].value == pytest.approx(1 / 80)
    assert found["real"]["distinct reports"].value > 0.9
    assert len({tuple(metrics) for metrics in found.values()}) == 1


def test_half_empty_outputs_drop_scores_and_coverage(world):
    """A scorer that skips what is missing would still give 1."""
    half = [Prediction(c.id, report=c.report if i % 2 else "") for i, c in enumerate(world.cases)]
    absent = [prediction for i, prediction in enumerate(half) if i % 2]
    for predictions in (half, absent):
        found, samples = score(world, predictions)
        assert {s.coverage for s in found.values()} == {0.5}
        assert found["BLEU-4"].value < 0.5  # the brevity penalty of half of the words is exp(-1)
        assert found["ROUGE-L"].value == pytest.approx(0.5)
        assert found["CIDEr"].value == pytest.approx(5)
        assert found["macro finding F1"].value < 0.85
        assert samples[0]["ROUGE-L"] == 0


def test_intervals_hold_the_value(world):
    shuffled = TASK.anchors(world.cases, world.train, None, 0)[1]
    found, _ = score(world, shuffled.predictions)
    for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "macro finding F1"):
        assert found[name].ci_low < found[name].value < found[name].ci_high
    assert found["BLEU-4"].signature["interval"].startswith("95 %, Wilson score with t, effective number of patients")


def test_meteor_says_why_it_is_missing(world):
    found, _ = score(world, [Prediction(c.id, report=c.report) for c in world.cases])
    assert found["METEOR"].value is None
    assert found["METEOR"].reason.startswith("METEOR 1.5 needs Java")
    assert "no Java" in found["BLEU-1"].signature["tokenisation"]


def test_without_a_checker_the_text_metrics_run(world):
    found, samples = score(world, [Prediction(c.id, report=c.report) for c in world.cases], checkers=False)
    assert found["macro finding F1"].reason == "the data set has no report checker"
    assert found["BLEU-1"].value == pytest.approx(1)
    assert "finding F1" not in samples[0]
