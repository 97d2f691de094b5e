"""Which scores a set of images gets in a feature space, how they are called, and why one is withheld."""

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.perception.array import image_key, write_features
from medim.perception.hub import IMAGE_EMBEDDING, Encoder
from medim.perception.inception import InceptionFeatures
from medim.perception.space import open_features
from tasks.metrics.image import extrapolation, frechet, inception, kernel
from tasks.metrics.image.coverage import coverage_of_features
from tasks.metrics.image.frechet import Moments, frechet_distance
from tasks.metrics.image.variety import vendi_score
from tasks.metrics.statistics.bootstrap import jackknife_error
from tasks.scoring.context import Context
from tasks.scoring.distributions import Names, distribution_scores

IN_SPACE = [
    "KID (pooled)",
    "Fréchet distance (pooled)",
    "FD∞ (pooled)",
    "image precision (pooled)",
    "image recall (pooled)",
    "image density (pooled)",
    "image coverage (pooled)",
    "Vendi score (pooled)",
]
OF_CLASSES = ["IS (pooled logits)", "IS (pooled logits, whole set)"]
VARIETY = ["MS-SSIM of pairs (16 px)", "duplicate images"]


class Space:
    """Features of a picture: the means of its 2 x 4 parts in one colour."""

    name = title = "pooled"
    fingerprint = "pooled-1"
    resize = "none"
    trained_against = False

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images[:, :1], (2, 4)).flatten(1)


class Classifying(Space):
    classes = 4

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return 5 * features[:, :4]


def context_of(space, **fields) -> Context:
    return Context(opener=lambda spec, device: space, **fields)


class Broken(Space):
    """Fails in one way of several when it is asked."""

    def __init__(self, how):
        self.how = how

    def features(self, images):
        return self.how(super().features(images))


def fails(features):
    raise AssertionError("\x1b[31mno such layer\x1b[0m\nand more")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (fails, "AssertionError: no such layer"),
        (lambda features: features[0], "gave an array of shape (8,)"),
        (lambda features: features[:1], "gave an array of shape (1, 8)"),
        (lambda features: features * torch.nan, "gave NaN or infinity"),
        (lambda features: features.tolist(), "AttributeError"),
    ],
)
def test_a_space_of_others_that_fails_withholds_its_columns_alone(world, how, reason):
    images = [case.image for case in world.cases]
    context = Context(features=("broken", "pooled"), opener=lambda spec, device: Broken(how) if spec == "broken" else Space())
    scores = distribution_scores(world.cases, images, context, None)
    blank, whole = scores[: len(IN_SPACE)], by_name(scores[len(IN_SPACE) :])
    assert [score.metric for score in blank] == IN_SPACE
    assert {score.value for score in blank} == {None}
    assert all(reason in score.reason and score.reason.isprintable() for score in blank)
    assert whole["KID (pooled)"].value is not None
    assert whole["duplicate images"].value is not None


def test_a_space_of_others_that_cannot_be_opened_withholds_its_columns_alone(world):
    def opener(spec, device):
        if spec == "pooled":
            return Space()
        raise ImportError("\x1b[31mno module\x1b[0m\nand more")

    images = [case.image for case in world.cases]
    scores = by_name(distribution_scores(world.cases, images, Context(features=("theirs", "pooled"), opener=opener), None))
    assert scores["KID (theirs)"].reason.startswith("feature space 'theirs' cannot be opened: ImportError: no module")
    assert scores["KID (theirs)"].signature["failed"]
    assert scores["KID (pooled)"].value is not None


def by_name(scores):
    assert len({score.metric for score in scores}) == len(scores)
    return {score.metric: score for score in scores}


@pytest.fixture
def noise():
    """Many pictures that differ."""
    return [Image.fromarray(v) for v in np.random.default_rng(3).integers(0, 256, (1200, 16, 16, 3), dtype=np.uint8)]


def test_all_scores_are_of_their_formulae(world):
    images = [case.image for case in world.train[:80]]
    space = Classifying()
    context = context_of(space, seed=7)
    scores = by_name(distribution_scores(world.cases, images, context, None))
    assert list(scores) == IN_SPACE + OF_CLASSES + VARIETY
    bank = context.bank("efficientnet-lite0")
    real, fake = bank.features([case.image for case in world.cases]), bank.features(images)
    patients = [case.patient for case in world.cases]
    assert scores["KID (pooled)"].value == pytest.approx(kernel.kernel_distance(real, fake), rel=1e-12)
    assert scores["Vendi score (pooled)"].value == pytest.approx(vendi_score(fake), rel=1e-12)
    assert "n_reference" not in scores["Vendi score (pooled)"].signature
    interval = kernel.kernel_interval(real, fake, patients, patients, 7)
    assert (scores["KID (pooled)"].ci_low, scores["KID (pooled)"].ci_high) == (interval.low, interval.high)
    distance = scores["Fréchet distance (pooled)"]
    expected = frechet_distance(Moments.of_features(real), Moments.of_features(fake))
    assert distance.value == pytest.approx(expected, rel=1e-12)
    error = jackknife_error(frechet.frechet_jackknife(real, fake, patients, patients, 7))
    assert distance.ci_high - distance.value == pytest.approx(2.1447866879 * error, rel=1e-6)
    line = extrapolation.frechet_infinity(real, fake, patients, patients, 7)
    limit = scores["FD∞ (pooled)"]
    assert limit.value == line.value
    assert limit.ci_high - limit.value == pytest.approx(2.1447866879 * np.hypot(error, line.error), rel=1e-6)
    shares = coverage_of_features(real, fake)
    for share in ("precision", "recall", "density", "coverage"):
        assert scores[f"image {share} (pooled)"].value == getattr(shares, share)
    assert scores["IS (pooled logits, whole set)"].value == pytest.approx(inception.inception_score(5 * fake[:, :4]), rel=1e-5)
    assert scores["duplicate images"].value == 1 - len({image.tobytes() for image in images}) / 80


def test_signatures_say_what_has_to_be_equal(world):
    images = [case.image for case in world.train[:80]]
    scores = by_name(distribution_scores(world.cases, images, context_of(Classifying()), None))
    for name in IN_SPACE:
        signature = scores[name].signature
        assert (signature["features"], signature["features_weights"], signature["resize"]) == ("pooled", "pooled-1", "none")
        assert (signature["n"], signature["dimension"]) == (80, 8)
        assert signature.get("n_reference", 80) == 80
        assert signature["geometry"].startswith("pad-square")
    assert "trained_against" not in signature
    assert scores["image recall (pooled)"].signature["neighbours"] == 5
    assert scores["Fréchet distance (pooled)"].signature["covariance"] == "full rank possible"
    assert "jackknife over 15 groups of patients" in scores["Fréchet distance (pooled)"].signature["interval"]
    few = by_name(distribution_scores(world.cases[:8], images[:8], context_of(Classifying()), None))
    assert few["Fréchet distance (pooled)"].signature["covariance"] == "singular: n <= d"
    assert few["Fréchet distance (pooled)"].signature["interval"] == "no interval: 4 patients, fewer than 15"


def test_directions(world):
    scores = by_name(distribution_scores(world.cases, [c.image for c in world.cases], context_of(Classifying()), None))
    down, up = IN_SPACE[:3], IN_SPACE[3:7]
    assert [name for name, score in scores.items() if score.higher_is_better is False] == down
    assert [name for name, score in scores.items() if score.higher_is_better] == up


def test_the_classes_of_photographs_give_no_rank_and_few_images_no_splits(world, noise):
    cases = [world.cases[i % 80] for i in range(1200)]
    scores = by_name(distribution_scores(cases[:999], noise[:999], context_of(Classifying()), None))
    split, whole = (scores[name] for name in OF_CLASSES)
    assert split.value is None
    assert "10 splits need 1,000 images, here are 999" in split.reason
    assert whole.value > 1
    assert split.higher_is_better is whole.higher_is_better is None
    split = by_name(distribution_scores(cases, noise, context_of(Classifying(), seed=2), None))[OF_CLASSES[0]]
    logits = 5 * context_of(Space()).bank("efficientnet-lite0").features(noise)[:, :4]
    expected = inception.split_score(logits, seed=2)
    assert split.value == pytest.approx(expected.mean, rel=1e-5)
    assert f"standard deviation over splits {expected.deviation:.4g}" in split.signature["interval"]


def test_the_score_is_of_the_generated_images(world, noise):
    """Of generated and reference exchanged, each has its own."""
    cases = [
        type(c)(c.id, c.patient, c.domain, image, c.report, c.findings)
        for c, image in zip(world.cases, noise[:80], strict=True)
    ]
    own = [case.image for case in world.cases]
    name = "IS (pooled logits, whole set)"
    bands = by_name(distribution_scores(cases, own, context_of(Classifying()), None))[name].value
    grey = by_name(distribution_scores(world.cases, noise[:80], context_of(Classifying()), None))[name].value
    assert bands > 1.3 > grey


def test_few_images_say_what_they_lack(world):
    images = [case.image for case in world.cases]
    scores = by_name(distribution_scores(world.cases[:5], images[:5], context_of(Space()), None))
    assert scores["FD∞ (pooled)"].reason == "needs 2 d = 16 images a side (d = 8 features), here are 5"
    assert scores["image coverage (pooled)"].reason == "more than 5 images a side are needed, here are 5"
    assert scores["KID (pooled)"].value is not None
    assert scores["MS-SSIM of pairs (16 px)"].reason.startswith("images of 16 px are too small")


def test_pairs_are_compared_where_the_side_allows(world, noise):
    cases = [type(c)(c.id, c.patient, c.domain, c.image.resize((64, 64)), c.report, c.findings) for c in world.cases[:20]]
    images = [image.resize((64, 64)) for image in noise[:20]]
    score = by_name(distribution_scores(cases, images, context_of(Space()), None))["MS-SSIM of pairs (64 px, 3 scales)"]
    assert 0 < score.value < 0.5
    assert score.higher_is_better is None
    constant = by_name(distribution_scores(cases, images[:1] * 20, context_of(Space()), None))
    assert constant["MS-SSIM of pairs (64 px, 3 scales)"].value == pytest.approx(1)
    assert constant["duplicate images"].value == pytest.approx(0.95)


def test_missing_images_withhold_every_one(world):
    images = [None, *(case.image for case in world.cases[1:])]
    scores = by_name(distribution_scores(world.cases, images, context_of(Classifying()), None))
    assert list(scores) == IN_SPACE + OF_CLASSES + VARIETY
    assert {(score.value, score.reason) for score in scores.values()} == {(None, "1 of 80 images are missing")}
    assert {score.coverage for score in scores.values()} == {79 / 80}


def test_images_come_one_for_each_case(world):
    with pytest.raises(ValueError, match="80 cases but 7 images"):
        distribution_scores(world.cases, [case.image for case in world.train[:7]], context_of(Space()), None)


def test_a_population_of_another_size_is_independent_of_the_cases(world):
    images = [case.image for case in world.cases]
    population = world.train[:30]
    scores = by_name(distribution_scores(world.cases, images, context_of(Space()), population))
    assert {score.n for score in scores.values()} == {30}
    distance = scores["Fréchet distance (pooled)"]
    assert distance.ci_low < distance.value < distance.ci_high


def test_a_population_is_of_its_own_patients(world):
    """Two images a patient: 28 are of 14, and theirs is the interval."""
    images = [case.image for case in world.cases]
    few = by_name(distribution_scores(world.cases, images, context_of(Space()), world.train[:28]))["Fréchet distance (pooled)"]
    assert few.value is not None
    assert few.signature["interval"] == "no interval: 14 patients, fewer than 15"
    context = context_of(Space(), seed=7)
    interval = by_name(distribution_scores(world.cases, images, context, world.train[:40]))["KID (pooled)"]
    sides = world.cases, world.train[:40]
    features = [context.bank("efficientnet-lite0").features([case.image for case in side]) for side in sides]
    expected = kernel.kernel_interval(*features, *([case.patient for case in side] for side in sides), 7)
    assert (interval.ci_low, interval.ci_high) == (expected.low, expected.high)


def test_an_empty_population_withholds_every_one(world):
    images = [case.image for case in world.cases]
    scores = by_name(distribution_scores(world.cases, images, context_of(Space()), population=[]))
    assert list(scores) == IN_SPACE + VARIETY
    assert all("at least two images a side are needed, here are 0 against 80" in score.reason for score in scores.values())


def test_a_space_that_cannot_be_opened_leaves_the_others(world):
    def opener(spec, device):
        if spec == "inception":
            raise UserError("Inception weights are missing: put ...")
        return Space()

    context = Context(features=("inception", "mine"), opener=opener)
    scores = by_name(distribution_scores(world.cases, [c.image for c in world.train[:80]], context, None))
    blank = [name for name, score in scores.items() if score.reason == "Inception weights are missing: put ..."]
    assert blank == [
        "KID (Inception-v3)",
        "FID",
        "FID∞",
        "image precision (Inception-v3)",
        "image recall (Inception-v3)",
        "image density (Inception-v3)",
        "image coverage (Inception-v3)",
        "Vendi score (Inception-v3)",
        "Inception Score",
        "Inception Score (whole set)",
    ]
    assert scores["Fréchet distance (pooled)"].value > 0


def test_names_of_what_cannot_be_opened():
    assert Names.of_spec("efficientnet-lite0").frechet == "Fréchet distance (EfficientNet-Lite0)"
    assert Names.of_spec("transformers:microsoft/rad-dino").kernel == "KID (microsoft/rad-dino)"
    assert Names.of_spec("inception-clean").frechet == "FID (clean resize)"
    assert Names.of_spec("own").frechet == "Fréchet distance (own)"


def test_only_the_released_weights_are_called_fid(monkeypatch):
    monkeypatch.setattr(InceptionFeatures, "__init__", lambda self: torch.nn.Module.__init__(self))
    space = InceptionFeatures()
    space.title, space.antialias = "Inception-v3", False
    space.official = True
    names = Names.of_space(space)
    assert (names.frechet, names.extrapolated, names.score) == ("FID", "FID∞", "Inception Score")
    assert names.kernel == "KID (Inception-v3)"
    space.antialias = True
    assert Names.of_space(space).frechet == "FID (clean resize)"
    space.official, space.title = False, "Inception-v3, weights 00112233"
    assert Names.of_space(space).frechet == "Fréchet distance (Inception-v3, weights 00112233)"
    assert Names.of_space(space).score == "IS (Inception-v3, weights 00112233 logits)"


def test_a_feature_array_scores_what_it_holds(world, tmp_path):
    """The model's images are in the array, and so are the cases'; another system's are not."""
    reference, images = [case.image for case in world.cases], [case.image for case in world.train[:80]]
    distinct = {image_key(image): image for image in reference + images}
    computed = context_of(Space()).bank("efficientnet-lite0").features(list(distinct.values()))
    write_features(tmp_path / "uni.npz", list(distinct), computed)
    context = Context(features=(f"array:{tmp_path}/uni.npz",), opener=open_features)
    scores = by_name(distribution_scores(world.cases, images, context, None))
    direct = by_name(distribution_scores(world.cases, images, context_of(Space()), None))
    assert scores["KID (uni)"].value == pytest.approx(direct["KID (pooled)"].value, rel=1e-12)
    strangers = [world.draw(frozenset(), 127 + index) for index in range(80)]
    withheld = by_name(distribution_scores(world.cases, strangers, context, None))["KID (uni)"]
    assert withheld.value is None
    assert withheld.reason.endswith("lacks 80 of 80 images")


def test_cmmd_stands_where_images_and_texts_are_joined(world):
    """In the space of a model such as CLIP alone."""

    class Shifted(torch.nn.Module):
        def forward(self, images):
            return Space().features(images) + 1.5

    def joined(layer):
        return Encoder("clip", "tiny", Shifted(), lambda network, x: network(x), layer, 16, (0.5,) * 3, (0.5,) * 3)

    images = [case.image for case in world.train[:80]]
    context = context_of(joined(IMAGE_EMBEDDING))
    scores = by_name(distribution_scores(world.cases, images, context, None))
    bank = context.bank("efficientnet-lite0")
    sides = bank.features([case.image for case in world.cases]), bank.features(images)
    assert scores["CMMD (tiny)"].value == pytest.approx(kernel.cmmd(*sides), rel=1e-9)
    assert scores["CMMD (tiny)"].signature["estimator"] == "biased, x 1000"
    missing = by_name(distribution_scores(world.cases, [None, *images[1:]], context, None))
    assert list(missing) == list(scores)
    assert "CMMD (tiny)" not in by_name(distribution_scores(world.cases, images, context_of(joined("pooled")), None))
