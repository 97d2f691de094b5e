import pytest

from medim.common.errors import UserError
from tasks import task_named
from tasks.protocols import Prediction

TASK = task_named("image-generation")


def by_name(scores):
    return {score.metric: score for score in scores}


@pytest.fixture
def scored(world):
    """Scores of each anchor."""
    context = world.context()
    anchors = TASK.anchors(world.cases, world.train, world.blur, 0)
    return {a.name: by_name(TASK.score(world.cases, a.predictions, context, a.population)[0]) for a in anchors}


def test_a_perfect_generator_is_perfect(world):
    generator = world.perfect(world.cases)
    predictions = TASK.generate(generator, world.cases, list(range(80)))
    assert generator.seeds == list(range(80))
    assert [prediction.prompt for prediction in predictions] == [case.report for case in world.cases]
    assert all(prediction.cost["seconds"] >= 0 for prediction in predictions)
    scores, samples = TASK.score(world.cases, predictions, world.context())
    found = by_name(scores)
    for name in ("macro finding F1", "micro finding F1", "macro finding F1: east", *(f"finding F1: {x}" for x in world.labels)):
        assert found[name].value == 1
        assert found[name].coverage == 1
    assert samples == [{"finding F1": 1.0}] * 80
    assert found["Fréchet distance (pooled)"].value == pytest.approx(0, abs=1e-9)


def test_anchors_give_the_scale(scored):
    assert list(scored) == ["real", "reconstruction", "shuffled", "constant", "nearest neighbour", "training copy"]
    f1 = {name: found["macro finding F1"].value for name, found in scored.items()}
    assert f1["real"] == f1["reconstruction"] == 1
    assert 0.15 < f1["shuffled"] < 0.45  # about the prevalence
    assert f1["constant"] < 0.35
    frechet = {name: found["Fréchet distance (pooled)"].value for name, found in scored.items()}
    assert 0 < frechet["real"] < 0.2 * frechet["constant"]  # real against real is not zero: other patients stand for it
    assert frechet["shuffled"] == frechet["real"]
    kid = {name: found["KID (pooled)"].value for name, found in scored.items()}
    assert abs(kid["real"]) < 0.2 * kid["constant"]


def test_every_anchor_has_the_same_metrics(scored):
    assert len({tuple(found) for found in scored.values()}) == 1


def test_missing_images_withhold_distances_and_count_as_no_findings(world):
    half = [Prediction(c.id, image=c.image if i % 2 else None) for i, c in enumerate(world.cases)]
    scores, _ = TASK.score(world.cases, half, world.context())
    found = by_name(scores)
    assert {score.coverage for score in scores} == {0.5}
    for name in ("KID (pooled)", "Fréchet distance (pooled)"):
        assert found[name].value is None
        assert found[name].reason == "40 of 80 images are missing"
    assert 0.4 < found["macro finding F1"].value < 0.85
    assert found["macro finding F1: west"].value == 0
    assert found["macro finding F1: east"].value == 1


def test_without_a_checker_f1_is_withheld_and_distances_are_not(world):
    predictions = [Prediction(c.id, image=c.image) for c in world.cases]
    scores, samples = TASK.score(world.cases, predictions, world.context(checkers=False))
    found = by_name(scores)
    assert found["macro finding F1"].value is None
    assert found["macro finding F1"].reason == "the data set has no image checker"
    assert found["KID (pooled)"].value is not None
    assert samples == [{}] * 80


def test_few_patients_have_no_interval(world):
    cases = world.cases[:20]  # 10 patients
    predictions = [Prediction(c.id, image=c.image) for c in cases]
    scores, _ = TASK.score(cases, predictions, world.context())
    assert {(score.ci_low, score.ci_high) for score in scores} == {(None, None)}
    assert by_name(scores)["macro finding F1"].signature["interval"] == "no interval: 10 patients, fewer than 15"


def test_a_generator_that_gives_too_few_is_named(world, monkeypatch):
    generator = world.perfect(world.cases)
    monkeypatch.setattr(generator, "generate_images", lambda reports, seeds: [])
    with pytest.raises(UserError, match="'perfect' gave 0 images for 80 cases"):
        TASK.generate(generator, world.cases, range(80))
    with pytest.raises(ValueError, match="80 cases but 3 seeds"):
        TASK.generate(generator, world.cases, range(3))
