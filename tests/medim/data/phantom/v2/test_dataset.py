"""The data set: frozen, deterministic, with stated rates of noise, priors and twins."""

import json

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import KnowsKeys, keys_of
from medim.data.loading import load_dataset
from medim.data.phantom.dataset import TERMS
from medim.data.phantom.labels import DOMAINS, LABELS, LABELS_BY_DOMAIN
from medim.data.phantom.v2.cases import COHORT, sample_case
from medim.data.phantom.v2.dataset import CARD, FINGERPRINT, PICTURES_FINGERPRINT, PhantomV2, noisy_labels, some_twin
from medim.data.phantom.v2.writing.report import write_report
from medim.data.phantom.v2.writing.statements import MIXED, STYLES, Options

DATASET = PhantomV2()


STEP, OFFSET = 8.0, 6.2  # the offset keeps every thumbnail of version 2 clear of the borders between two steps


def thumbnail(image):
    """4 x 4 means in 32 steps: the last digit of a sine does not matter, a changed drawing does."""
    side = image.width // 4
    means = np.asarray(image, np.float64).reshape(4, side, 4, side, 3).mean(axis=(1, 3))
    return np.rint((means + OFFSET) / STEP).astype(int).tolist()


def test_version_two_is_frozen():
    """Version, labels, split sizes, 64 cases of each split, thumbnails of some pictures; then reports in each style.

    If this fails, the generator changed: every shipped weight and committed result names the old data.
    """
    content, reports = [COHORT.version, LABELS, COHORT.sizes], []
    for split in COHORT.sizes:
        for index in range(64):
            case = sample_case(split, index)
            findings = [[f.label, f.severity, round(f.size, 3), round(f.contrast, 4), f.count, f.zone] for f in case.findings]
            content.append([case.patient, case.visit, case.cellularity, findings])
            if index < 8:
                content.append([thumbnail(PhantomV2.draw(case, resolution)) for resolution in (64, 128)])
            reports += [write_report(case, Options(style=style)).text for style in (MIXED, *STYLES)]
    assert hash_of(content) == PICTURES_FINGERPRINT
    assert hash_of([PICTURES_FINGERPRINT, *reports]) == FINGERPRINT == DATASET.fingerprint


def test_it_is_registered_under_its_name():
    dataset = load_dataset("phantom-v2")
    assert (dataset.name, dataset.synthetic, dataset.domains) == ("phantom-v2", True, DOMAINS)
    assert "synthetic" in dataset.terms


def test_options_are_typed_in_an_expression():
    dataset = load_dataset("phantom-v2:resolution=128,style=terse,omission=0.2,comparison=false")
    assert dataset.resolution == 128
    assert (dataset.options.style, dataset.options.omission, dataset.options.comparison) == ("terse", 0.2, False)


def test_sizes():
    assert {split: DATASET.size(split) for split in COHORT.sizes} == {"train": 262_144, "val": 4_096, "test": 8_192}
    with pytest.raises(UserError, match="unknown split 'valid'; did you mean 'val'"):
        DATASET.size("valid")
    assert DATASET.pair("train", 262_143).id == "phantom-v2-train-262143"


def test_a_pair_has_every_field():
    pair = next(p for p in (DATASET.pair("test", index) for index in range(0, 200, 2)) if "prior" in p.extra and p.findings)
    case = DATASET.case("test", int(pair.id[-6:]))
    assert (pair.domain, pair.view, pair.split, pair.terms) == ("chest-xray", "frontal", "test", TERMS)
    assert (pair.image.mode, pair.image.size) == ("RGB", (64, 64))
    assert pair.findings == case.labels
    assert pair.study == f"{pair.patient}-s{case.visit}"
    assert pair.extra["prior"] == f"phantom-v2-test-{case.index - 2:06d}"
    assert set(pair.extra["attributes"]) == set(pair.findings)
    assert set(pair.extra["change"].values()) <= {"new", "resolved", "increased", "decreased", "unchanged"}
    assert {label for label, how in pair.extra["mentions"].items() if how == "present"} <= set(pair.findings)
    assert pair.extra["style"] in ("terse", "standard", "long")
    first = case.findings[0]
    assert pair.extra["attributes"][first.label]["size"] == round(first.size, 1)
    assert json.loads(json.dumps(dict(pair.extra))) == dict(pair.extra)
    assert DATASET.pair("test", 13).extra["cellularity"] in ("low", "moderate", "high")


def test_keys_are_those_of_the_pairs_without_drawing():
    assert isinstance(DATASET, KnowsKeys)
    for index in (0, 1, 37, 90):
        pair = DATASET.pair("val", index)
        assert keys_of(DATASET, "val", index) == (pair.id, pair.study, pair.patient)
    with pytest.raises(IndexError, match="phantom-v2 val has 4096 pairs"):
        DATASET.keys("val", 4096)


def test_ids_are_unique_and_patients_stay_in_their_split():
    every = [(split, DATASET.keys(split, index)) for split in COHORT.sizes for index in range(2000)]
    assert len({keys.id for _, keys in every}) == len({keys.study for _, keys in every}) == len(every)
    patients: dict[str, set[str]] = {split: {keys.patient for s, keys in every if s == split} for split in COHORT.sizes}
    assert not patients["train"] & patients["val"]
    assert not patients["train"] & patients["test"]
    assert not patients["val"] & patients["test"]


def test_pairs_do_not_depend_on_the_order_of_reading():
    forwards = [(np.asarray(p.image), p.report) for p in (DATASET.pair("val", index) for index in range(6))]
    for index in reversed(range(6)):
        again = PhantomV2().pair("val", index)
        np.testing.assert_array_equal(np.asarray(again.image), forwards[index][0])
        assert again.report == forwards[index][1]


def test_resolution_changes_the_pixels_only():
    large = PhantomV2(style="long", omission=0.3).with_resolution(128)
    assert large.options.style == "long"
    small = PhantomV2(style="long", omission=0.3)
    for index in range(4):
        a, b = small.pair("val", index), large.pair("val", index)
        assert (a.report, a.findings, a.patient) == (b.report, b.findings, b.patient)
        assert b.image.size == (128, 128)


def test_the_fingerprint_follows_every_option():
    variants = [
        {},
        {"resolution": 128},
        {"style": "terse"},
        {"omission": 0.1},
        {"label_noise": 0.1},
        {"uncertainty": 0.2},
        {"comparison": False},
    ]
    prints = [PhantomV2(**options).fingerprint for options in variants]
    assert len(set(prints)) == len(prints)
    assert prints == [PhantomV2(**options).fingerprint for options in variants]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 8}, r"phantom-v2: resolution 8 is outside 32\.\.1024"),
        ({"resolution": 4096}, r"phantom-v2: resolution 4096 is outside 32\.\.1024"),
        ({"style": "tearse"}, "unknown report style 'tearse'; did you mean 'terse'"),
        ({"omission": 1.5}, r"omission 1\.5 is outside 0\.\.1"),
        ({"label_noise": 0.7}, r"label_noise 0\.7 is outside 0\.\.0\.5"),
        ({"uncertainty": -0.1}, r"uncertainty -0\.1 is outside"),
    ],
)
def test_bad_options_are_told(options, message):
    with pytest.raises(UserError, match=message):
        PhantomV2(**options)


def test_label_noise_flips_at_its_rate_and_leaves_picture_and_report():
    flips = total = 0
    for index in range(1500):
        case = sample_case("train", index)
        flips += len(set(noisy_labels(case, 0.1)) ^ set(case.labels))
        total += len(LABELS_BY_DOMAIN[case.domain])
        assert noisy_labels(case, 0.0) == case.labels
    assert flips / total == pytest.approx(0.1, abs=0.012)
    clean, noisy = DATASET.pair("train", 8), PhantomV2(label_noise=0.5).pair("train", 8)
    assert clean.report == noisy.report
    assert clean.findings != noisy.findings
    np.testing.assert_array_equal(np.asarray(clean.image), np.asarray(noisy.image))


def test_omission_leaves_findings_out_of_the_report_at_its_rate():
    options = PhantomV2(omission=0.3, uncertainty=0.0).options
    left_out = total = 0
    for index in range(400):
        case = sample_case("train", index)
        mentions = write_report(case, options).mentions
        left_out += sum(label not in mentions for label in case.labels)
        total += len(case.labels)
    assert left_out / total == pytest.approx(0.3, abs=0.08)


def test_twin_pairs_differ_in_one_finding_in_picture_and_report():
    for index in range(40):
        case = sample_case("val", index)
        for label in case.labels:
            pair, other = DATASET.twin_pairs("val", index, label)
            assert pair.id == DATASET.keys("val", index).id
            assert other.id == f"{pair.id}-twin-{label.replace(' ', '-')}"
            assert set(pair.findings) - set(other.findings) == {label}
            assert (other.patient, other.domain) == (pair.patient, pair.domain)
            assert (np.asarray(pair.image) != np.asarray(other.image)).any()
            assert other.extra["mentions"].get(label) in (None, "absent")
            kept = [found for found in other.findings if found in pair.extra["mentions"]]
            assert all(other.extra["mentions"].get(found) == pair.extra["mentions"][found] for found in kept)
    with pytest.raises(UserError, match="unknown chest finding 'glands'"):
        DATASET.twin_pairs("val", 0, "glands")


def test_other_words_say_the_same_findings():
    dataset = PhantomV2(uncertainty=0.0)
    for index in range(40):
        pair, other = dataset.pair("test", index), dataset.reworded("test", index)
        assert other == dataset.reworded("test", index)
        assert dataset.report_checker()([other]) == [frozenset(pair.findings)]


def test_each_case_for_training_comes_with_a_twin():
    cases = PhantomV2.training_cases(10, 40, seed=0)
    assert len(cases) == 80
    for original, other in zip(cases[::2], cases[1::2], strict=True):
        assert original == sample_case("train", original.index)
        assert len(set(original.labels) ^ set(other.labels)) == 1
    assert [case.index for case in cases[::2]] == list(range(10, 50))
    assert PhantomV2.training_cases(10, 40, seed=0) == cases
    assert PhantomV2.training_cases(10, 40, seed=1) != cases


def test_hard_findings_are_changed_more_often():
    rng = np.random.default_rng(0)
    case = next(case for case in (sample_case("train", i) for i in range(0, 100, 2)) if not case.findings)
    changed = [some_twin(case, rng).labels[0] for _ in range(400)]
    assert changed.count("left nodule") > 1.8 * changed.count("pacemaker")


def test_the_card_states_what_the_set_is():
    text = CARD.read_text(encoding="utf-8")
    for word in ("cannot tell", "Prevalence", "262,144", "omission", "label_noise", "approximate"):
        assert word in text
    for domain in DOMAINS:
        assert all(label in text for label in LABELS_BY_DOMAIN[domain])
