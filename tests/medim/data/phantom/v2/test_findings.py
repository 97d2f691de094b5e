"""Findings: severities and their thresholds."""

import pytest

from medim.data.phantom.labels import LABELS, kind_of, side_of
from medim.data.phantom.v2.findings import TABLES, is_graded, severity_of, spec_of


@pytest.mark.parametrize("label", LABELS)
def test_every_label_has_a_spec_with_room_for_each_severity(label):
    spec = spec_of(label)
    assert sum(spec.counts) == pytest.approx(1.0)
    assert spec.sizes[0] < spec.sizes[1]
    assert 0 < spec.contrasts[0] < spec.contrasts[1] < 1
    if spec.graded_by is not None:
        low, high = spec.sizes if spec.graded_by == "size" else spec.contrasts
        assert low < spec.thresholds[0] < spec.thresholds[1] < high


def test_every_kind_is_a_label():
    assert set(TABLES.specs) == {kind_of(label) for label in LABELS}


@pytest.mark.parametrize(
    ("label", "size", "contrast", "severity"),
    [
        ("left nodule", 17.9, 0.5, "mild"),
        ("left nodule", 18.0, 0.5, "moderate"),
        ("right nodule", 24.0, 0.1, "severe"),
        ("pulmonary edema", 10.0, 0.23, "mild"),
        ("pulmonary edema", 10.0, 0.24, "moderate"),
        ("pulmonary edema", 10.0, 0.33, "severe"),
        ("pacemaker", 60.0, 0.9, "moderate"),
        ("high cellularity", 10.0, 0.9, "moderate"),
    ],
)
def test_severity_is_read_from_what_grades_the_finding(label, size, contrast, severity):
    assert severity_of(label, size, contrast) == severity
    assert is_graded(label) == (label not in ("pacemaker", "high cellularity"))


def test_sides_and_kinds():
    assert (side_of("left effusion"), kind_of("left effusion")) == ("left", "effusion")
    assert (side_of("pulmonary edema"), kind_of("pulmonary edema")) == (None, "pulmonary edema")
