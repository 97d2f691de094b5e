from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tasks import task_named
from tasks.generation.joint.task import domain_scores
from tasks.protocols import Case, Prediction
from tasks.scoring.scores import Scorer

TASK = task_named("joint-generation")


def score(world, predictions, population=None, checkers=True):
    scores, samples = TASK.score(world.cases, predictions, world.context(checkers), population)
    return {s.metric: s for s in scores}, samples


@pytest.fixture
def scored(world):
    anchors = TASK.anchors(world.cases, world.train, world.blur, 0)
    return {a.name: score(world, a.predictions, a.population)[0] for a in anchors}


def test_pairs_are_unprompted(world):
    generator = world.perfect(world.train)
    predictions = TASK.generate(generator, world.cases, range(80))
    assert generator.prompts == [""] * 80
    assert predictions[3].image is world.train[3].image
    found, samples = score(world, predictions)
    assert found["joint agreement"].value == 1
    assert found["anchored joint agreement"].value == pytest.approx(1)
    assert found["max prevalence error"].value < 0.2
    assert samples[0] == {"agreement": 1.0}


def test_anchors_are_the_scale(scored):
    assert list(scored) == ["real", "reconstruction", "shuffled", "constant", "training copy"]
    agreement = {name: found["joint agreement"].value for name, found in scored.items()}
    assert agreement["real"] == agreement["reconstruction"] == 1
    assert 0.15 < agreement["shuffled"] < 0.45
    anchored = {name: found["anchored joint agreement"].value for name, found in scored.items()}
    assert anchored["real"] == pytest.approx(1)
    assert anchored["shuffled"] == pytest.approx(0, abs=0.12)
    assert scored["real"]["max prevalence error"].value == 0
    assert scored["shuffled"]["max prevalence error"].value == 0
    assert scored["real"]["distinct reports (of the real share)"].value == 1
    assert scored["real"]["Fréchet distance (pooled)"].value > 0
    assert len({tuple(found) for found in scored.values()}) == 1


def test_a_constant_pair_agrees_but_its_prevalences_give_it_away(scored):
    constant = scored["constant"]
    assert constant["distinct reports"].value == pytest.approx(1 / 80)
    assert constant["max prevalence error"].value > 0.5


def test_all_normal_pairs_cannot_win(world):
    normal = world.draw(frozenset(), 10), world.write(frozenset(), 0)
    found, _ = score(world, [Prediction(c.id, image=normal[0], report=normal[1]) for c in world.cases])
    assert found["joint agreement"].value == 0
    assert found["anchored joint agreement"].value < 0


def test_prevalence_is_given_by_finding_and_modality(world):
    blue = world.draw(frozenset(["blue"]), 10), world.write(frozenset(["coral"]), 0)
    found, _ = score(world, [Prediction(c.id, image=blue[0], report=blue[1]) for c in world.cases])
    assert found["prevalence: blue (image)"].value == 1
    assert found["prevalence: blue (report)"].value == 0
    assert found["prevalence: coral (report)"].value == 1
    assert found["prevalence: blue (image)"].higher_is_better is None
    share = sum("blue" in case.findings for case in world.cases) / 80
    assert found["max prevalence error"].value >= 1 - share
    assert found["joint agreement"].value == 0


def test_half_pairs_count_as_missing(world):
    predictions = [Prediction(c.id, image=c.image, report=c.report if i % 2 else None) for i, c in enumerate(world.cases)]
    found, _ = score(world, predictions)
    assert found["joint agreement"].coverage == 0.5
    assert found["joint agreement"].value < 0.85
    assert found["KID (pooled)"].value is not None  # all images are there


def test_no_scale_where_real_pairs_do_not_agree(world):
    """Cases whose own reports are those of other cases: nothing to normalise by."""
    shuffled = TASK.anchors(world.cases, world.train, None, 0)[1].predictions
    cases = [
        type(c)(c.id, c.patient, c.domain, c.image, p.report, c.findings) for c, p in zip(world.cases, shuffled, strict=True)
    ]
    scores, _ = TASK.score(cases, shuffled, world.context())
    anchored = next(s for s in scores if s.metric == "anchored joint agreement")
    real = next(s for s in scores if s.metric == "joint agreement").value
    assert real < 0.45
    if anchored.value is None:
        assert "cannot be told apart" in anchored.reason
    else:
        assert anchored.value == pytest.approx(1)


def test_without_checkers_agreement_is_withheld(world):
    predictions = [Prediction(c.id, image=c.image, report=c.report) for c in world.cases]
    found, samples = score(world, predictions, checkers=False)
    for name in ("joint agreement", "anchored joint agreement", "max prevalence error"):
        assert found[name].reason == "the data set has no image checker"
    assert found["distinct reports"].value is not None
    assert samples == [{}] * 80


def test_mcc_by_finding_beside_the_macro(world, scored):
    assert scored["real"]["finding MCC"].value == 1
    assert scored["real"]["anchored finding MCC"].value == pytest.approx(1)
    assert scored["shuffled"]["finding MCC"].value == pytest.approx(0, abs=0.2)
    assert {f"finding MCC: {label}" for label in world.labels} <= set(scored["real"])
    assert scored["real"]["finding MCC: blue"].value == 1
    assert scored["constant"]["finding MCC"].value == 0
    assert scored["constant"]["finding MCC: blue"].reason == "one modality shows it in every sample or in none"


def test_co_occurrence_error_is_the_mean_over_pairs_of_findings(world, scored):
    assert scored["real"]["co-occurrence error (image)"].value == 0
    both = frozenset(["amber", "blue"])
    found, _ = score(world, [Prediction(c.id, image=world.draw(both, 10), report=world.write(both, 0)) for c in world.cases])
    shares = {
        (a, b): sum(a in c.findings and b in c.findings for c in world.cases) / 80
        for i, a in enumerate(world.labels)
        for b in world.labels[i + 1 :]
    }
    expected = sum(abs((pair == ("amber", "blue")) - share) for pair, share in shares.items()) / 6
    assert found["co-occurrence error (image)"].value == pytest.approx(expected)
    assert found["co-occurrence error (report)"].value == pytest.approx(expected)
    assert found["co-occurrence error (report)"].signature["pairs"] == 6


def test_fewer_than_fifteen_patients_are_no_scale(world):
    cases = world.cases[:20]
    scores, _ = TASK.score(cases, [Prediction(c.id, image=c.image, report=c.report) for c in cases], world.context())
    found = {s.metric: s for s in scores}
    assert found["joint agreement"].value == 1
    assert found["anchored joint agreement"].reason.endswith("no interval: 10 patients, fewer than 15")


def picture(domain, number):
    """East is bright on the left, west on the right."""
    pixels = np.full((16, 16, 3), number % 20, dtype=np.uint8)
    pixels[:, :8] += np.uint8(200 if domain == "east" else 0)
    pixels[:, 8:] += np.uint8(200 if domain == "west" else 0)
    return Image.fromarray(pixels)


def report(domain, number):
    return f"{domain} wind, study number {number}"


@pytest.fixture
def cases():
    domains = ["east", "west"] * 20
    return [Case(f"c{i}", f"p{i}", d, picture(d, i), report(d, i), frozenset()) for i, d in enumerate(domains)]


def domain_values(world, cases, images, reports):
    return {s.metric: s for s in domain_scores(cases, images, reports, Scorer(world.context(), len(cases), 1.0))}


def test_shares_and_the_largest_error_are_those_of_what_was_generated(world, cases):
    images = [picture("east" if index < 29 else "west", index) for index in range(40)]
    reports = [report("east" if index < 20 else "west", index) for index in range(40)]
    scores = domain_values(world, cases, images, reports)
    assert scores["domain share: east (image)"].value == 29 / 40
    assert scores["domain share: west (report)"].value == 0.5
    assert scores["max domain share error"].value == pytest.approx(29 / 40 - 0.5)
    assert scores["domain agreement"].value == 31 / 40
    signature = scores["domain share: east (image)"].signature
    assert signature["share_of_data"] == {"data": 0.5}
    assert signature["read_right"] == {"image": 1.0, "report": 1.0}
    share = scores["domain share: east (image)"]
    assert share.ci_low < share.value < share.ci_high
    assert share.higher_is_better is None


def test_what_is_missing_is_of_no_domain(world, cases):
    images = [None if index < 10 else case.image for index, case in enumerate(cases)]
    scores = domain_values(world, cases, images, [case.report for case in cases])
    assert scores["domain share: east (image)"].value == 15 / 40
    assert scores["domain agreement"].value == 30 / 40
    assert scores["max domain share error"].value == pytest.approx(5 / 40)
    nothing = domain_values(world, cases, [None] * 40, [None] * 40)
    assert nothing["max domain share error"].value == 0.5


def test_domains_that_cannot_be_read_from_real_cases_tell_nothing(world, cases):
    alike = [replace(case, image=picture("east", index)) for index, case in enumerate(cases)]
    scores = domain_values(world, alike, [case.image for case in alike], [case.report for case in alike])
    assert all(s.value is None and s.reason.startswith("of the real images the domain of") for s in scores.values())
    assert len(scores) == 6


def test_data_of_one_domain_has_no_such_scores(world, cases):
    for changed in ([replace(case, domain="east") for case in cases], [replace(case, domain=None) for case in cases]):
        assert domain_values(world, changed, [case.image for case in cases], [case.report for case in cases]) == {}
