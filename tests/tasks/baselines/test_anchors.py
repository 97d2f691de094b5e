from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tasks.baselines.anchors import TfIdf, anchors_of, copies_of, nearest, training_population


@pytest.fixture
def anchors(world):
    return {a.name: a for a in anchors_of(world.cases, world.train, world.blur, 0, images=True, reports=True)}


def test_real_is_the_cases_themselves_and_its_population_is_not(world, anchors):
    real = anchors["real"]
    assert [(p.id, p.image, p.report) for p in real.predictions] == [(c.id, c.image, c.report) for c in world.cases]
    training = {case.image.tobytes() for case in world.train}
    assert len(real.population) == len(world.cases)
    assert all(case.image.tobytes() in training for case in real.population)


def test_reconstruction_passes_both_sets_through_the_tokenizer(world, anchors):
    reconstruction = anchors["reconstruction"]
    for case, prediction in zip(world.cases, reconstruction.predictions, strict=True):
        assert np.array_equal(np.asarray(prediction.image), np.asarray(case.image) // 8 * 8)
        assert prediction.report == case.report
    assert all((np.asarray(case.image) % 8 == 0).all() for case in reconstruction.population)
    theirs = anchors["real"].population
    assert [case.patient for case in reconstruction.population] == [case.patient for case in theirs]


def test_shuffled_breaks_every_pair_and_loses_none(world, anchors):
    predictions = anchors["shuffled"].predictions
    assert sorted(p.report for p in predictions) == sorted(c.report for c in world.cases)
    assert all(p.report != c.report and p.image is c.image for p, c in zip(predictions, world.cases, strict=True))


def test_constant_is_one_training_pair(world, anchors):
    predictions = anchors["constant"].predictions
    assert len({(p.image.tobytes(), p.report) for p in predictions}) == 1
    pairs = {(case.image.tobytes(), case.report) for case in world.train}
    assert (predictions[0].image.tobytes(), predictions[0].report) in pairs
    assert anchors["constant"].population is None


def test_constant_report_is_the_most_frequent_one(world):
    often = world.train[7].report
    train = [*world.train, *(case for case in world.train if case.report == often)]
    constant = anchors_of(world.cases, train, None, 0, images=False, reports=True)[2]
    assert {p.report for p in constant.predictions} == {often}
    assert {p.image for p in constant.predictions} == {None}


def test_population_has_the_domains_of_the_cases(world):
    cases = [case for case in world.cases if case.domain == "east"][:12] + world.cases[:1]
    population = training_population(cases, world.train, np.random.default_rng(0))
    assert Counter(case.domain for case in population) == {"east": 12, "west": 1}
    assert len({case.id for case in population}) == 13


def test_is_seeded(world):
    def shuffled(seed):
        found = anchors_of(world.cases, world.train, None, seed, images=True, reports=False)
        return [[p.image.tobytes() for p in anchor.predictions] for anchor in found]

    assert shuffled(1) == shuffled(1)
    assert shuffled(1) != shuffled(2)


def test_without_training_cases_there_is_no_constant(world):
    anchors = anchors_of(world.cases, [], None, 0, images=True, reports=False)
    assert [anchor.name for anchor in anchors] == ["real", "shuffled"]
    assert anchors[0].population == []
    assert [a.name for a in anchors_of(world.cases[:1], world.train, None, 0, images=True, reports=True)] == [
        "real",
        "constant",
        "training copy",
    ]


def named(cases, train, **kinds):
    return {anchor.name: anchor.predictions for anchor in anchors_of(cases, train, None, 0, **kinds)}


def test_the_nearest_neighbour_is_found_by_what_the_task_gives(world):
    """The cases themselves among strangers: each finds itself, by its report or by its image."""
    train = [*world.train, *world.cases]
    images = named(world.cases, train, images=True, reports=False)["nearest neighbour"]
    same = [p.image.tobytes() == c.image.tobytes() for p, c in zip(images, world.cases, strict=True)]
    assert np.mean(same) > 0.9  # equal reports may stand for two images
    assert {p.report for p in images} == {None}
    rng = np.random.default_rng(0)
    train = [replace(case, image=Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))) for case in world.train]
    darker = [replace(case, image=case.image.point(lambda level: level // 2)) for case in train[::-7]]
    reports = named(darker, train, images=False, reports=True)["nearest neighbour"]
    assert [(p.id, p.report) for p in reports] == [(case.id, case.report) for case in darker]
    assert "nearest neighbour" not in named(world.cases, train, images=True, reports=True)


def test_without_pictures_no_image_is_nearest(world):
    blank = [replace(case, image=case.image.resize((1, 1))) for case in world.cases]
    assert list(named(blank, blank, images=False, reports=True)) == ["real", "shuffled", "constant", "training copy"]


def test_copies_are_training_pairs_and_none_comes_twice_before_all_have_come(world):
    copies = named(world.cases, world.train, images=True, reports=True)["training copy"]
    pairs = {(case.image.tobytes(), case.report) for case in world.train}
    assert {(p.image.tobytes(), p.report) for p in copies} <= pairs
    assert [p.id for p in copies] == [case.id for case in world.cases]
    chosen = [case.id for case in copies_of(world.train[:7], 21, np.random.default_rng(0))]
    assert chosen[:7] == chosen[7:14] == chosen[14:]
    assert len(set(chosen)) == 7


def test_nearest_is_by_angle_and_the_first_of_equals():
    references = np.array([[0.0, 1.0], [10.0, 1.0], [1.0, 0.1], [3.0, 3.0]])
    queries = np.array([[2.0, 0.2], [0.0, 0.5], [1.0, 1.0], [0.0, 0.0]])
    assert nearest(queries, references) == [1, 0, 3, 0]


def test_nearest_equals_a_loop():
    generator = np.random.default_rng(0)
    queries, references = generator.normal(size=(5, 8)), generator.normal(size=(40, 8))
    cosine = [[q @ r / np.linalg.norm(q) / np.linalg.norm(r) for r in references] for q in queries]
    assert nearest(queries, references) == np.argmax(cosine, axis=1).tolist()


def test_rare_words_weigh_more_than_common_ones_and_order_counts():
    texts = ["the heart is large", "the heart is normal", "the lung is clear", "effusion on the left"]
    index = TfIdf(texts)
    assert [index.nearest(text) for text in texts] == [0, 1, 2, 3]
    assert index.nearest("The EFFUSION, of the kind") == 3
    assert index.nearest("the clear heart") == 2
    assert TfIdf(["left large right small", "left small right large"]).nearest("right small") == 0
    assert index.nearest("nothing known") == 0
