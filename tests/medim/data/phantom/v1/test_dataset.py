"""The data set: frozen, deterministic, split by patient, with its terms."""

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import pairs
from medim.data.loading import load_dataset
from medim.data.phantom.dataset import TERMS
from medim.data.phantom.labels import DOMAINS, LABELS, LABELS_BY_DOMAIN, PATHOLOGY
from medim.data.phantom.v1.cases import COHORT, sample_case
from medim.data.phantom.v1.dataset import FINGERPRINT, PhantomV1, finding_region

DATASET = PhantomV1()


THUMBNAIL_OFFSET = 5.47  # keeps every thumbnail of version 1 away from the borders between two steps


def test_version_one_is_frozen():
    """Version, labels, split sizes, 64 cases with reports of each split, and thumbnails of some pictures.

    Thumbnails are 8 x 8 means in 16 steps, so that the last digit of a sine does not matter and a changed drawing does.
    If this fails, the generator changed: every shipped weight and committed result names the old data.
    """
    content = [COHORT.version, LABELS, COHORT.sizes]
    for split in COHORT.sizes:
        for index in range(64):
            case, pair = sample_case(split, index), DATASET.pair(split, index)
            content.append([case.patient, case.visit, case.labels, sorted(case.attributes.items()), pair.report])
            if index < 8:
                means = np.asarray(pair.image, np.float64).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3, 4))
                content.append(np.rint((means + THUMBNAIL_OFFSET) / 16.0).astype(int).tolist())
    assert hash_of(content) == FINGERPRINT == DATASET.fingerprint


def test_it_is_registered_under_its_name():
    dataset = load_dataset("phantom")
    assert (dataset.name, dataset.synthetic, dataset.domains) == ("phantom", True, DOMAINS)
    assert "synthetic" in dataset.terms


def test_sizes():
    assert {split: DATASET.size(split) for split in COHORT.sizes} == {"train": 49_152, "val": 1_024, "test": 2_048}
    with pytest.raises(UserError, match="unknown split 'valid'; did you mean 'val'"):
        DATASET.size("valid")


def test_a_pair_has_every_field():
    chest, tissue = DATASET.pair("test", 12), DATASET.pair("test", 13)
    assert chest.id == "phantom-test-00012"
    assert (chest.domain, chest.view, tissue.domain, tissue.view) == ("chest-xray", "frontal", "pathology", None)
    assert chest.image.mode == tissue.image.mode == "RGB"
    assert chest.image.size == (64, 64)
    assert chest.terms == TERMS
    assert chest.split == "test"
    assert isinstance(chest.findings, tuple)
    assert chest.study.startswith(chest.patient)


def test_ids_and_studies_are_unique_and_patients_stay_in_their_split():
    light = [DATASET.pair(split, index) for split in COHORT.sizes for index in range(120)]
    assert len({pair.id for pair in light}) == len({pair.study for pair in light}) == len(light)
    by_split = {split: {pair.patient for pair in light if pair.split == split} for split in COHORT.sizes}
    assert not by_split["train"] & by_split["val"]
    assert not by_split["train"] & by_split["test"]
    assert not by_split["val"] & by_split["test"]
    assert all(len(patients) < 120 for patients in by_split.values())


def test_pairs_do_not_depend_on_the_order_of_reading():
    forwards = [np.asarray(pair.image) for pair in pairs(DATASET, "val", limit=6)]
    backwards = [np.asarray(PhantomV1().pair("val", index).image) for index in reversed(range(6))]
    for a, b in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(a, b)


def test_resolution_changes_the_pixels_only():
    large = DATASET.with_resolution(128)
    for index in range(4):
        a, b = DATASET.pair("val", index), large.pair("val", index)
        assert (a.report, a.findings, a.patient) == (b.report, b.findings, b.patient)
        assert b.image.size == (128, 128)
        small = np.asarray(b.image, float).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.abs(small - np.asarray(a.image, float)).mean() < 6.0
    with pytest.raises(UserError, match=r"resolution 8 is outside 32\.\.2048"):
        PhantomV1(8)


def test_other_words_say_the_same_findings():
    read = DATASET.report_checker()
    for index in range(40):
        pair, other = DATASET.pair("test", index), DATASET.reworded("test", index)
        assert other == DATASET.reworded("test", index)
        assert read([other]) == [frozenset(pair.findings)]


@pytest.mark.parametrize(
    ("label", "rows", "columns"),
    [
        ("right effusion", slice(24, 64), slice(0, 32)),
        ("left pneumothorax", slice(0, 44), slice(32, 64)),
        ("left nodule", slice(20, 36), slice(38, 56)),
        ("pacemaker", slice(0, 56), slice(28, 64)),
        ("endotracheal tube", slice(0, 28), slice(24, 40)),
        ("cardiomegaly", slice(28, 64), slice(8, 60)),
    ],
)
def test_a_chest_finding_lies_where_the_anatomy_puts_it(label, rows, columns):
    for index in range(0, 20, 2):
        region = finding_region(sample_case("val", index), label, 64)
        assert region.any()
        assert region[rows, columns].sum() == region.sum()


def test_tissue_regions_cover_what_is_drawn():
    """Pigment is brown: nearly all of the picture's brown lies in the region."""
    dataset, shares = load_dataset("phantom"), []
    for index in range(1, 120, 2):
        pair = dataset.pair("val", index)
        if "pigment" not in pair.findings:
            continue
        pixels = np.asarray(pair.image).astype(int)
        brown = (pixels[..., 0] - pixels[..., 2] > 40) & (pixels[..., 2] < 90)
        if brown.sum() > 5:
            shares.append((brown & dataset.finding_region("val", index, "pigment")).sum() / brown.sum())
    assert len(shares) > 4
    assert np.mean(shares) > 0.95


def test_a_new_region_of_tissue_keeps_clear_of_the_others():
    for index in range(1, 40, 2):
        case = sample_case("val", index)
        for label in set(LABELS_BY_DOMAIN[PATHOLOGY]) - set(case.labels) - {"low cellularity", "high cellularity"}:
            new = finding_region(case, label, 64)
            assert 0.01 < new.mean() < 0.4
            for other in set(case.labels) & {"glands", "necrosis"}:
                assert (new & finding_region(case, other, 64)).sum() < 0.6 * new.sum()
    assert finding_region(sample_case("val", 1), "high cellularity", 64).all()


def test_a_label_of_the_other_domain_is_refused():
    with pytest.raises(UserError, match="unknown chest-xray finding 'glands'"):
        finding_region(sample_case("val", 0), "glands", 64)
