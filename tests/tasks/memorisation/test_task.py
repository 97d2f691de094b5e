"""Pictures of noise and reports of random words: nothing is alike unless it was copied."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.spatial.distance import cdist

from medim.common.errors import UserError
from medim.data.dataset import Keys
from medim.pair import ImageReportPair
from tasks import task_named
from tasks.cases import cases_of
from tasks.memorisation.screening import Screen
from tasks.memorisation.task import Memorisation
from tasks.metrics.image.memorisation import Threshold
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Prediction
from tasks.scoring.context import Context

SIDE = 24
WORDS = [f"word{number}" for number in range(40)]
SIZES = {"train": 300, "val": 420, "test": 200}


class Edges:
    """Features: differences of a picture's coarse grey levels."""

    name, title, fingerprint, resize, trained_against = "edges", "Edges", "edges-1", "none", False

    def __init__(self):
        self.seen = 0

    def features(self, images):
        self.seen += len(images)
        coarse = torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 12)
        return torch.cat([coarse.diff(dim=2).flatten(1), coarse.diff(dim=3).flatten(1)], dim=1)


class Noise:
    name, fingerprint, synthetic, terms, domains = "noise", "noise-1", True, "CC0-1.0", ("noise",)

    def __init__(self, sizes=None, same=0, shared=()):
        """`same`: how many training pictures are one and the same; `shared`: held-out pairs that repeat one of training."""
        self.sizes, self.same, self.shared, self.drawn = sizes or SIZES, same, shared, 0

    def size(self, split):
        return self.sizes[split]

    def pair(self, split, index):
        self.drawn += 1
        place = (split, index)
        if place in self.shared:
            place = ("train", 100 + index)
        if place[0] == "train" and place[1] < self.same:
            place = ("train", 0)
        generator = np.random.default_rng(["train", "val", "test"].index(place[0]) * 10_000 + place[1])
        image = Image.fromarray(generator.integers(30, 200, (SIDE, SIDE, 3), dtype=np.uint8))
        report = " ".join(generator.choice(WORDS, size=12))
        id = f"{split}-{index}"
        patient = f"train-{100 + index}" if (split, index) in self.shared else id
        return ImageReportPair(id, image, report, split, id, patient, domain="noise")

    def keys(self, split, index):
        own = f"{split}-{index}"
        return Keys(own, own, own)

    def image_checker(self):
        return None

    report_checker = image_checker


def context_of(dataset, folder=None, space=None, seed=0):
    space = space or Edges()
    context = Context.for_dataset(dataset, seed=seed, features=("edges",))
    return replace(context, training_folder=folder, opener=lambda *_: space)


def new(count, seed=777_777):
    generator = np.random.default_rng(seed)
    return [Image.fromarray(generator.integers(30, 200, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(count)]


def screened(cases, images, reports, context, task=None):
    reports = reports or [None] * len(cases)
    predictions = [Prediction(case.id, image, text) for case, image, text in zip(cases, images, reports, strict=True)]
    task = task or Memorisation()
    scores, samples = task.score(cases, predictions, context)
    return {score.metric: score for score in scores}, samples, task.exhibit(cases, predictions, context)


@pytest.fixture(scope="module")
def dataset():
    return Noise()


@pytest.fixture(scope="module")
def cases(dataset):
    return cases_of(dataset, "test", SIDE)


@pytest.fixture(scope="module")
def context(dataset):
    return context_of(dataset)


def test_planted_copies_are_all_found_among_new_images(cases, context):
    """Five exact, five mirrored, brighter or darker, among 200 that are new: all ten, and the ten nearest."""
    scores, samples, _ = screened(cases, new(200), None, context)
    assert scores["planted copies found"].value == 1
    assert scores["planted copies in the top 10"].value == 1
    assert scores["training duplicates"].value == 0
    assert scores["authenticity (pixels)"].value > 0.3
    assert scores["nearest distance / held-out (Edges)"].value == pytest.approx(1, abs=0.05)
    signature = scores["flagged images"].signature
    assert signature["held_out"] == 420
    assert signature["held_out_are_cases"] is False
    assert signature["nominal"] == pytest.approx(2 * 2 / 421)
    assert scores["flagged images expected of unseen ones"].value == signature["nominal"]
    assert scores["flagged reports"].value is None
    assert set(samples[0]) == {"distance (pixels)", "distance (Edges)", "flagged image", "distance / threshold"}


def test_held_out_images_are_flagged_about_as_often_as_stated():
    """The share over many worlds is asserted of the thresholds (tests/tasks/metrics); here it is one world, alpha = 0.1."""
    dataset = Noise()
    cases = cases_of(dataset, "test", SIDE)
    task = Memorisation(alpha=0.1)
    scores, _, _ = screened(cases, [case.image for case in cases], None, context_of(dataset), task)
    alone = [scores[f"flagged images ({space})"].value for space in ("pixels", "Edges")]
    rate = scores["flagged images"].value
    assert max(alone) <= rate <= sum(alone) + 1e-12
    assert 0.03 < rate < 0.17  # 200 images, at most 0.1 expected: 0.1 +- 3.3 standard deviations; the union is not empty
    assert scores["flagged images"].additive.value() == rate
    assert scores["flagged images"].ci_low < rate < scores["flagged images"].ci_high


def test_copies_flips_and_shifts_are_flagged_and_traced(dataset, cases, context):
    images = new(200)
    source = [dataset.pair("train", row).image for row in (3, 40, 250)]
    brighter = Image.fromarray(np.asarray(source[2]) + 30)
    images[:3] = [source[0], ImageOps.mirror(source[1]), brighter]
    clean, _, _ = screened(cases, new(200), None, context)
    scores, samples, shown = screened(cases, images, None, context)
    assert [sample["flagged image"] for sample in samples[:3]] == [1, 1, 1]
    assert samples[0]["distance (pixels)"] == samples[0]["distance (Edges)"] == 0
    assert samples[1]["distance (Edges)"] == pytest.approx(0, abs=1e-4)
    nearest = [told["nearest (pixels)"]["id"] for told in shown.samples[:3]]
    assert nearest == ["train-3", "train-40", "train-250"]
    flagged = scores["flagged images"].value - clean["flagged images"].value
    assert 0.005 <= flagged <= 0.015
    assert scores["authenticity (pixels)"].value <= clean["authenticity (pixels)"].value
    assert scores["planted copies in the top 10"].value == 1  # the flagged do not compete
    first = shown.pairings[0]
    assert first.image.tobytes() == first.other.tobytes() == source[0].tobytes()
    assert first.lines[0] == "test-0 | train-3"
    assert first.lines[1].startswith("FLAGGED: 0.00")
    severities = sorted(sample["distance / threshold"] for sample in samples)
    assert len(shown.pairings) == 32
    assert shown.pairings[-1].lines[1].split()[2 if severities[31] >= 1 else 1] == f"{severities[31]:.2f}"


def test_anchors_frame_the_screen(dataset, cases, context):
    train = cases_of(dataset, "train", SIDE, 120)
    anchors = {anchor.name: anchor for anchor in Memorisation().anchors(cases, train, None, 0)}
    assert list(anchors) == ["real", "training copy"]
    copies = anchors["training copy"].predictions
    assert [prediction.id for prediction in copies] == [case.id for case in cases]
    scores, _ = Memorisation().score(cases, copies, context)
    by_name = {score.metric: score for score in scores}
    for name in ("flagged images", "verbatim reports", "flagged reports", "8-gram overlap of reports"):
        assert by_name[name].value == 1
    assert by_name["authenticity (pixels)"].value == by_name["authenticity (Edges)"].value == 0
    assert by_name["planted copies in the top 10"].value == 1
    real, _ = Memorisation().score(cases, anchors["real"].predictions, context)
    real = {score.metric: score for score in real}
    assert real["flagged images"].value <= 0.04
    assert real["verbatim reports"].value == 0
    assert Memorisation().anchors(cases, [], None, 0)[1:] == []


def test_verbatim_and_partly_copied_reports(dataset, cases, context):
    generator = np.random.default_rng(888_888)
    reports = [" ".join(generator.choice(WORDS, size=12)) for _ in cases]
    text = dataset.pair("train", 9).report
    reports[0] = text.upper() + "."
    reports[1] = text + " and then some"  # five of its eight 8-grams
    reports[2] = None
    scores, samples, shown = screened(cases, new(200), reports, context)
    assert scores["verbatim reports"].value == pytest.approx(1 / 199)
    assert scores["verbatim reports"].coverage == 199 / 200
    assert scores["flagged reports"].value == pytest.approx(2 / 199)
    assert scores["8-gram overlap of reports"].value == pytest.approx((1 + 5 / 8) / 199)
    assert shown.samples[0]["nearest (report)"] == {"id": "train-9", "verbatim": True}
    assert shown.samples[1]["nearest (report)"] == {"id": "train-9", "verbatim": False}
    assert samples[1]["longest copied run"] == 12
    assert "nearest (report)" not in shown.samples[2]
    assert scores["flagged reports"].signature["held_out_verbatim"] == 0


def test_a_report_without_a_word_is_missing(dataset, cases, context):
    reports = [dataset.pair("train", 9).report, "...", *[None] * 198]
    scores, samples, _ = screened(cases, new(200), reports, context)
    found = [scores[name] for name in ("verbatim reports", "8-gram overlap of reports", "flagged reports")]
    assert [(score.value, score.n, score.coverage) for score in found] == [(1, 1, 1 / 200)] * 3
    assert "flagged report" not in samples[1]


def test_a_report_as_near_as_the_threshold_is_not_flagged(dataset, cases, monkeypatch):
    """One of three 8-grams: 1 - (1 - 1/3) is less than 1/3 in floating point."""
    monkeypatch.setattr(Screen, "text_threshold", Threshold(1 - 1 / 3, 0.05, 0.05, 19))
    text = " ".join(dataset.pair("train", 9).report.split()[:8])
    reports = [f"{text} other words", f"{text} word", *[None] * 198]
    scores, _, _ = screened(cases, new(200), reports, context_of(dataset))
    assert scores["8-gram overlap of reports"].value == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert scores["flagged reports"].value == 1 / 2


def test_authenticity_equals_its_definition(cases, context, dataset):
    images = new(200)
    scores, _, _ = screened(cases, images, None, context)

    def rows(pictures):
        with torch.no_grad():  # as the features come: [-1, 1]
            stack = torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1) / 127.5 - 1 for one in pictures])
            return Edges().features(stack).double().numpy()

    training, generated = rows([dataset.pair("train", row).image for row in range(300)]), rows(images)
    among = cdist(training, training) + np.diag(np.full(300, np.inf))
    table = cdist(generated, training)
    expected = (table.min(axis=1) > among.min(axis=1)[table.argmin(axis=1)]).mean()
    assert scores["authenticity (Edges)"].value == pytest.approx(expected)


def test_mostly_duplicates_warn_and_withhold_authenticity(cases, capsys):
    scores, _, _ = screened(cases, new(200), None, context_of(Noise(same=160)))
    assert "53% of the 300 training images equal another one" in capsys.readouterr().err
    assert scores["training duplicates"].value == pytest.approx(160 / 300)
    assert scores["authenticity (pixels)"].value is None
    assert "cannot be read" in scores["authenticity (pixels)"].reason
    screened(cases, new(200), None, context_of(Noise(same=140)))
    assert capsys.readouterr().err.count("warning") == 0


def test_the_same_patient_is_no_neighbour_of_a_held_out_image():
    """All held-out pairs repeat a training pair, of the same patient: without the exclusion every distance is 0."""
    shared = {("val", row) for row in range(200)} | {("test", row) for row in range(200)}
    leaky = Noise(sizes={"train": 300, "val": 200, "test": 200}, shared=shared)
    cases = cases_of(leaky, "test", SIDE)
    screen = Screen(leaky, cases, context_of(leaky))
    assert screen.null.distances.shape == (2, 200)
    assert (screen.null.distances > 0.1).all()
    assert not screen.null.verbatim.any()


def test_held_out_studies_of_one_name_under_many_patients_all_count():
    class Numbered(Noise):
        def keys(self, split, index):
            return super().keys(split, index)._replace(study="study1")

    numbered = Numbered(sizes={"train": 60, "val": 40, "test": 19})
    screen = Screen(numbered, cases_of(numbered, "test", SIDE), context_of(numbered))
    assert screen.null.distances.shape == (2, 40 + 19)


def test_held_out_copies_of_others_make_the_screen_say_nothing():
    class Leak(Noise):
        def pair(self, split, index):
            pair = super().pair(split, index)
            return replace(pair, patient=f"{split}-{index}")

    leaky = Leak(sizes={"train": 300, "val": 200, "test": 50}, shared={("val", row) for row in range(150)})
    cases = cases_of(leaky, "test", SIDE)
    scores, _, _ = screened(cases, new(50), [case.report for case in cases], context_of(leaky))
    assert scores["flagged images"].value is None
    assert "75.0% of held-out images too equal" in scores["flagged images"].reason
    assert scores["flagged reports"].value is None
    assert "75.0% of held-out reports" in scores["flagged reports"].reason


def test_too_few_held_out_images_raise_the_stated_rate():
    small = Noise(sizes={"train": 60, "val": 0, "test": 19})
    cases = cases_of(small, "test", SIDE)
    scores, _, _ = screened(cases, new(19), None, context_of(small))
    signature = scores["flagged images"].signature
    assert signature["held_out_are_cases"] is True
    assert signature["nominal"] == pytest.approx(2 / 20)


def test_missing_images_and_spaces(cases, context, dataset):
    images = [*new(198), None, None]
    scores, samples, shown = screened(cases, images, None, context)
    assert scores["flagged images"].n == 198
    assert scores["flagged images"].coverage == 0.99
    assert samples[199] == {}
    assert shown.samples[199] == {"id": "test-199"}
    nothing, _, shown = screened(cases, [None] * 200, [case.report for case in cases], context)
    assert nothing["flagged images"].reason == "there are no images"
    assert nothing["verbatim reports"].value == 0
    assert shown.pairings == []

    def unopened(spec, device):
        raise UserError("no weights here")

    blind = replace(Context.for_dataset(dataset, features=("blind",)), opener=unopened)
    alone, _, _ = screened(cases, new(200), None, blind)
    assert alone["flagged images (blind)"].reason == "no weights here"
    assert alone["planted copies found"].value == 1
    assert list(alone["flagged images"].signature["spaces"]) == ["pixels"]
    with pytest.raises(UserError, match="no pairs in split 'train'"):
        screened(cases, new(200), None, context_of(Noise(sizes={"train": 0, "val": 9, "test": 200})))


def test_it_is_a_task_that_draws_pairs_and_shows_them(cases, context):
    class Pairs:
        name, fingerprint = "pairs", "p"

        def generate_pairs(self, prompts, *, seeds):
            assert prompts == ["", ""]
            return list(zip(new(2), ["a", "b"], strict=True))

    task = task_named("memorisation")
    assert [prediction.report for prediction in task.generate(Pairs(), cases[:2], [1, 2])] == ["a", "b"]
    scores, _, shown = screened(cases, new(200), None, context)
    assert "not thereby new" in shown.title[1]
    assert "safe" not in " ".join([*scores, *shown.title, *(str(score.signature) for score in scores.values())])
    assert all(
        isinstance(s.additive, Additive) and not s.additive.paired for s in scores.values() if "authenticity" in s.metric
    )


def test_a_killed_reading_goes_on_and_a_second_run_reads_nothing(tmp_path, cases):
    dataset, space = Noise(), Edges()
    first, _, _ = screened(cases, new(200), None, context_of(dataset, tmp_path, space))
    space.seen, dataset.drawn = 0, 0
    again, _, _ = screened(cases, new(200), None, context_of(dataset, tmp_path, space))
    assert {name: score.value for name, score in again.items()} == {name: score.value for name, score in first.items()}
    assert space.seen == 2 * 210  # the samples and the planted copies, mirrored too
    assert dataset.drawn == 10 + 32  # planted, and shown
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*.npz"))
    assert b"word1" not in stored
    assert b"train-1" not in stored
    broken = next(tmp_path.rglob("edges-1/*.npz"))
    broken.write_bytes(b"PK")
    with pytest.raises(UserError, match="remove the file"):
        screened(cases, new(200), None, context_of(dataset, tmp_path, space))
