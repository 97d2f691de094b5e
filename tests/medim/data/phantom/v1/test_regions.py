"""Where findings of version 1 lie, held against its pictures."""

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.data.phantom.labels import LABELS_BY_DOMAIN, PATHOLOGY
from medim.data.phantom.v1.cases import sample_case
from medim.data.phantom.v1.regions import finding_region


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
