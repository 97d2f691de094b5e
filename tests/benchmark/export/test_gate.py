import numpy as np
import pytest

from benchmark.export.gate import Gate, Rules, agreement
from benchmark.export.sources import Candidate, Place
from benchmark.systems import steering_checkers
from medim.common.errors import UserError
from medim.data.phantom.worlds import default_world
from medim.data.sources.selection import Subset


def candidate(world, number: int, report: str) -> Candidate:
    return Candidate(Place(number, 0), world.noise(9, number), report, {"id": str(number)})


def test_agreement_is_the_jaccard_index():
    assert agreement(frozenset("abc"), frozenset("bcd")) == 0.5
    assert agreement(frozenset(), frozenset("a")) == 0
    assert agreement(frozenset(), frozenset()) == 1


def test_distances_are_those_of_a_search_by_hand(world):
    data = world.Data()
    gate = world.gate(data)
    items = [candidate(world, number, "the corner is odd") for number in range(5)]
    told = gate.measure(items)
    for item, line in zip(items, told, strict=True):

        def flat(image):
            values = np.asarray(image.convert("L").resize((32, 32), 4), dtype=float).ravel()
            values -= values.mean()
            return values / np.linalg.norm(values)

        queries = [flat(item.image), flat(item.image.transpose(0))]
        training = [flat(data.pair("train", row).image) for row in range(40)]
        table = np.array([[np.linalg.norm(query - other) for other in training] for query in queries])
        assert line["distances"]["pixels"] == pytest.approx(table.min(), rel=1e-5)
        assert line["nearest"] == f"train.{table.min(axis=0).argmin():02d}"
    limit = gate.report()["search"]["thresholds"]["pixels"]
    assert told[0]["distance"] == pytest.approx(told[0]["distances"]["pixels"] / limit)


@pytest.mark.parametrize(
    ("rules", "told", "reason"),
    [
        ({}, {}, None),
        ({}, {"distance": 0.99}, "near-copy of a training image"),
        ({"allow_near_copies": True}, {"distance": 0.0}, None),
        ({"min_distance": 2.0}, {"distance": 1.5}, "below --min-distance"),
        ({"min_agreement": 0.5}, {"agreement": 0.49}, "below --min-agreement"),
        ({"min_agreement": 0.5}, {"agreement": 0.5}, None),
        ({"max_nats": 10.0}, {"nats": 10.5}, "above --max-nats"),
        ({"max_nats": 10.0}, {"nats": None}, "no likelihood: the report does not fit the model"),
    ],
)
def test_reasons(world, rules, told, reason):
    gate = world.gate(world.Data(), world.Model(), **rules)
    assert gate.reason("a report", {"distance": 3.0, "agreement": 1.0, "nats": 5.0} | told) == reason
    assert gate.reason(" \n", {"distance": 3.0, "agreement": 1.0, "nats": 5.0}) == "empty report"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"min_agreement": 0.5}, "checkers of reports and of images that steer"),
        ({"max_nats": 3.0}, "--model that gives likelihoods"),
        ({"min_distance": 2.0}, "--min-distance needs --data"),
    ],
)
def test_a_rule_without_its_instrument_is_refused(rules, told):
    with pytest.raises(UserError, match=told):
        Gate(Rules(**rules))


def test_near_copies_are_not_let_out_by_a_small_distance(world):
    with pytest.raises(UserError, match="--allow near-copies"):
        world.gate(world.Data(), min_distance=0.5)


def test_the_checker_that_scores_does_not_judge():
    dataset = default_world()
    for one in (dataset, Subset(dataset, 0.01)):
        images, reports = steering_checkers(one)
        assert images.fingerprint == dataset.steering_image_checker().fingerprint != dataset.image_checker().fingerprint
        assert reports.fingerprint == dataset.report_checker().fingerprint
