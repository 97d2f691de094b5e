from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tasks.generation.joint.domains import domain_scores
from tasks.protocols import Case
from tasks.scoring.scores import Scorer


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


def score(world, cases, images, reports):
    return {s.metric: s for s in domain_scores(cases, images, reports, Scorer(world.context(), len(cases), 1.0))}


def test_shares_and_the_largest_error_are_those_of_what_was_generated(world, cases):
    images = [picture("east" if index < 29 else "west", index) for index in range(40)]
    reports = [report("east" if index < 20 else "west", index) for index in range(40)]
    scores = score(world, cases, images, reports)
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
    scores = score(world, cases, images, [case.report for case in cases])
    assert scores["domain share: east (image)"].value == 15 / 40
    assert scores["domain agreement"].value == 30 / 40
    assert scores["max domain share error"].value == pytest.approx(5 / 40)
    nothing = score(world, cases, [None] * 40, [None] * 40)
    assert nothing["max domain share error"].value == 0.5


def test_domains_that_cannot_be_read_from_real_cases_tell_nothing(world, cases):
    alike = [replace(case, image=picture("east", index)) for index, case in enumerate(cases)]
    scores = score(world, alike, [case.image for case in alike], [case.report for case in alike])
    assert all(s.value is None and s.reason.startswith("of the real images the domain of") for s in scores.values())
    assert len(scores) == 6


def test_data_of_one_domain_has_no_such_scores(world, cases):
    for changed in ([replace(case, domain="east") for case in cases], [replace(case, domain=None) for case in cases]):
        assert score(world, changed, [case.image for case in cases], [case.report for case in cases]) == {}
