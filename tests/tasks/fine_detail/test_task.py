"""Lesions of controlled size: drawn as asked, read against their twins, and lost where a system loses them."""

import csv
import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.data.phantom.v1.dataset import LESIONS
from tasks import task_named
from tasks.cases import cases_of
from tasks.fine_detail.limits import area_under_curve, crossing, monotone, smallest_seen, spot_diameter
from tasks.fine_detail.task import probes_of
from tasks.protocols import Prediction
from tasks.scoring.context import Context

TASK = task_named("fine-detail")


def test_sensitivities_are_made_monotone_by_isotonic_regression():
    rows = np.array([[0.1, 0.5, 0.3, 0.9], [0.0, 0.2, 0.4, 0.6], [0.9, 0.5, 0.1, 0.5]])
    expected = [[0.1, 0.4, 0.4, 0.9], [0.0, 0.2, 0.4, 0.6], [0.5, 0.5, 0.5, 0.5]]
    np.testing.assert_allclose(monotone(rows), expected)


def test_the_limit_lies_between_sizes_in_even_ratios():
    sizes = (4.0, 16.0, 64.0)
    shares = np.array([[0.6, 1.0, 1.0], [0.0, 0.0, 0.8], [1.0, 1.0, 1.0], [0.0, 0.5, 0.7]])
    np.testing.assert_allclose(crossing(shares, sizes), [8.0, 64.0, 4.0, np.nan])
    sums = np.concatenate([10 * shares, np.full((4, 1), 10)], axis=1)
    np.testing.assert_allclose(smallest_seen(sums, sizes=sizes, level=0.8), [8.0, 64.0, 4.0, 64.0])


def test_the_area_is_the_chance_to_rank_higher():
    assert area_under_curve(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == (1 + 1 + 1 + 0.5) / 4
    assert area_under_curve(np.array([0.5]), np.array([0.5])) == 0.5


@pytest.mark.parametrize("diameter", [5, 9, 14])
def test_a_disc_is_measured(diameter):
    y, x = np.mgrid[:64, :64] + 0.5
    disc = np.clip(diameter / 2 - np.hypot(x - 40.3, y - 30.2) + 0.5, 0, 1)
    image = Image.fromarray(np.uint8(60 + 120 * disc))
    assert spot_diameter(image, (0.5, 0.3, 0.75, 0.6)) * 64 == pytest.approx(diameter, rel=0.12)


@pytest.mark.parametrize("name", ["phantom", "phantom-v2"])
def test_a_probe_changes_nothing_but_its_lesion(name):
    dataset = load_dataset(name)
    ids = [dataset.keys("val", index).id for index in range(8)]
    probes = probes_of(ids, dataset, most=2)
    assert {probe.lesion.name for probe in probes.values()} == ({"nodule"} if name == "phantom" else {"nodule", "pigment"})
    checker = dataset.report_checker()
    for probe in probes.values():
        lesion = probe.lesion
        twin = np.asarray(probe.draw(lesion.sizes[-1], 0.0, 64), np.int64)
        assert np.array_equal(twin, np.asarray(probe.draw(lesion.sizes[0], 0.0, 64)))
        areas = []
        for size in lesion.sizes[-3:]:
            changed = np.abs(np.asarray(probe.draw(size, lesion.contrasts[-1], 64), np.int64) - twin).max(axis=2) > 12
            areas.append(changed.sum())
        assert 0 < areas[0] < areas[1] < areas[2] < 64 * 64 / 8
        for grade in lesion.grades:
            assert checker([probe.report(grade)])[0] == {probe.label}
        assert probe.label not in checker([probe.report(None)])[0]
    v1 = next(iter(probes.values()))
    if name == "phantom":
        assert "small" in v1.report("small")
        assert "large" in v1.report("large")


class System:
    """Loses what a blur loses; draws no lesion whatever the report says."""

    name, fingerprint = "system", "system-1"

    def __init__(self, blur: float) -> None:
        self.blur = blur

    def settings(self):
        return {}

    def reconstruct(self, images):
        return [image.filter(ImageFilter.GaussianBlur(self.blur)) if self.blur else image for image in images]

    def generate_images(self, reports, *, seeds):
        return [Image.new("RGB", (64, 64), (80, 80, 80)) for _ in reports]

    def generate_reports(self, images, *, seeds):
        return ["" for _ in images]

    def generate_pairs(self, prompts, *, seeds):
        return [(Image.new("RGB", (64, 64)), "") for _ in prompts]


@pytest.fixture(scope="module")
def setting():
    dataset = load_dataset("phantom")
    cases = cases_of(dataset, "val", 64, 44)
    return cases, dataset, Context.for_dataset(dataset), TASK.prepared(cases, dataset)


def scores_of(setting, blur):
    cases, _, context, task = setting
    predictions = task.generate(System(blur), cases, range(len(cases)))
    scores, samples = TASK.score(cases, predictions, context)
    return {one.metric: one for one in scores}, samples, predictions


def test_what_the_tokenizer_blurs_is_lost_and_what_is_not_drawn_is_not_seen(setting):
    cases, _, context, task = setting
    usual = f"({LESIONS['nodule'].unit}), contrast {LESIONS['nodule'].contrasts[-1]:g}"
    drawn, tokens = f"smallest nodule seen as drawn {usual}", f"smallest nodule seen through the tokenizer {usual}"
    lossless, samples, predictions = scores_of(setting, 0)
    assert 2 < lossless[drawn].value < 11  # the checker's limit, below what the data set draws
    assert lossless[tokens].value == lossless[drawn].value
    assert lossless[drawn].ci_low <= lossless[drawn].value <= lossless[drawn].ci_high
    assert lossless["AUC: nodule as drawn"].value > 0.7
    assert lossless["sensitivity: nodule generated"].value in (0, 1)  # one image for all: the checker cannot tell
    assert lossless["AUC: nodule generated"].value == 0.5
    assert lossless[drawn].n == len(task.probes) == sum("lesions seen as drawn" in sample for sample in samples)
    apart = "smallest nodule told from its twin as drawn (% of the width), contrast 0.25"
    assert lossless[apart].value < lossless[drawn].value  # faint ones are told from nothing long before the threshold
    assert lossless[apart].ci_low <= lossless[apart].value <= lossless[apart].ci_high
    blurred, _, _ = scores_of(setting, 2.5)
    limit = blurred[tokens].value
    assert limit is None or limit > lossless[tokens].value
    assert blurred[drawn].value == lossless[drawn].value
    files = TASK.pictures(cases, predictions, context)
    rows = list(csv.DictReader(io.StringIO(files["detectability.csv"].decode())))
    assert len(rows) == 2 * 7 * 3 + 2
    assert {row["stage"] for row in rows} == {"drawn", "tokens", "generated"}
    assert Image.open(io.BytesIO(files["detectability.png"])).width > 500
    assert sum(one.image is not None for one in predictions) == len(task.probes)


def test_what_was_not_given_lowers_coverage_and_another_checker_is_refused(setting):
    cases, _, context, task = setting
    one = next(iter(task.probes))
    few = task.generate(System(0), [case for case in cases if case.id == one], [0])
    scores, _ = TASK.score(cases, few, context)
    assert scores[0].coverage == pytest.approx(1 / len(task.probes))
    assert scores[0].ci_low is None
    none, _ = TASK.score(cases, [], context)
    assert none[0].value is None
    told = [Prediction(one, few[0].image, details={**few[0].details, "checker": "other"})]
    with pytest.raises(UserError, match="another image checker"):
        TASK.score(cases, told, context)


def test_it_is_refused_where_it_cannot_be_asked():
    class Folder:
        name = fingerprint = "folder"

        def settings(self):
            return {}

        def answers(self, task, cases, known):
            raise AssertionError

    assert "lesions of other sizes" in TASK.refuses(Folder())
    assert TASK.refuses(System(0)) is None
    assert TASK.refuses_data(load_dataset("phantom:train=1%")) is None
