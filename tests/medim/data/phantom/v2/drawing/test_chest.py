"""Pictures: frozen, the same at any resolution, and a finding changes the picture only where it is."""

from dataclasses import replace

import numpy as np
import pytest

from medim.data.phantom.labels import CHEST, LABELS, LABELS_BY_DOMAIN, PATHOLOGY, kind_of
from medim.data.phantom.v2.cases import Case, sample_case, twin
from medim.data.phantom.v2.dataset import PhantomV2
from medim.data.phantom.v2.drawing.anatomy import LUNG
from medim.data.phantom.v2.drawing.chest import brighten
from medim.data.phantom.v2.findings import CHEST_MM, PATCH_UM, Finding, spec_of

DIFFUSE = ("pulmonary edema", "low cellularity", "high cellularity")


def _pixels(case: Case, resolution: int = 64) -> np.ndarray:
    return np.asarray(PhantomV2.draw(case, resolution), np.int16)


def _examples(label: str, count: int) -> list[Case]:
    """Cases with the finding, beside as many others as there are."""
    domain = CHEST if label in LABELS_BY_DOMAIN[CHEST] else PATHOLOGY
    cases = (sample_case("val", index) for index in range(domain == PATHOLOGY, 1200, 2))
    return sorted((c for c in cases if c.has(label)), key=lambda c: -len(c.findings))[:count]


def test_a_picture_depends_on_its_case_alone():
    for index in (4, 5):
        case = sample_case("test", index)
        first = _pixels(case)
        PhantomV2.draw(sample_case("test", index + 2), 64)
        np.testing.assert_array_equal(first, _pixels(case))
        assert PhantomV2.draw(case, 64).mode == "RGB"
    assert np.ptp(_pixels(sample_case("test", 4)), axis=2).max() == 0  # a radiograph is grey


@pytest.mark.parametrize("resolution", [128, 512])
def test_a_reduced_picture_is_the_smaller_one(resolution):
    for index in range(20, 28 if resolution == 128 else 24):
        case = sample_case("val", index)
        large = _pixels(case, resolution).astype(float)
        step = resolution // 64
        reduced = large.reshape(64, step, 64, step, 3).mean(axis=(1, 3))
        assert np.abs(reduced - _pixels(case)).mean() < 5.0
        assert np.corrcoef(reduced.ravel(), _pixels(case).ravel())[0, 1] > 0.97


def test_more_resolution_shows_more():
    def detail(case, side):
        pixels = _pixels(case, side).astype(float)[..., 1]
        blurred = pixels.reshape(side // 2, 2, side // 2, 2).mean(axis=(1, 3)).repeat(2, 0).repeat(2, 1)
        return np.abs(pixels - blurred).mean()

    for index in (20, 21):
        assert detail(sample_case("val", index), 256) > 1.0


@pytest.mark.parametrize("label", LABELS)
def test_a_twin_differs_only_where_the_finding_is(label):
    """Without the finding the rest is bit-identical: background, noise, and every other finding."""
    examples = _examples(label, 4)
    assert examples
    for case in examples:
        finding = case.finding(label)
        changed = np.abs(_pixels(case) - _pixels(twin(case, label))).max(axis=2) > 0
        assert changed.sum() >= 4
        if label in DIFFUSE:
            if label == "pulmonary edema":
                assert changed.mean() < 0.6
            continue
        if finding.places:
            scale, around = (CHEST_MM, 1.6) if case.domain == CHEST else (PATCH_UM, 1.15)
            radius = around * 0.5 * finding.size / scale + (0.03 if case.domain == CHEST else 0.06)
            assert changed.sum() / changed.size <= finding.count * np.pi * radius * radius
        elif kind_of(label) == "pacemaker":
            assert changed.mean() < 0.08
        elif kind_of(label) == "endotracheal tube":
            assert changed.mean() < 0.05
        elif kind_of(label) in ("effusion", "pneumothorax"):
            own = changed[:, 32:] if label.startswith("left") else changed[:, :32]  # the patient's left is on the right
            assert own.sum() >= 0.95 * changed.sum()


@pytest.mark.parametrize("label", LABELS)
def test_a_finding_without_contrast_is_not_there(label):
    case = _examples(label, 1)[0]
    faded = replace(case, findings=tuple(replace(f, contrast=0.0) if f.label == label else f for f in case.findings))
    np.testing.assert_array_equal(_pixels(faded), _pixels(twin(case, label)))


def _blank(domain: str) -> Case:
    start = 0 if domain == CHEST else 1
    return next(case for case in (sample_case("val", i) for i in range(start, 400, 2)) if not case.findings)


def _changed_by(finding: Finding, domain: str, resolution: int = 128) -> tuple[float, float]:
    """(share of the picture that changes by 8 levels or more, median change in the core) when the finding is drawn alone."""
    case = _blank(domain)
    difference = _pixels(replace(case, findings=(finding,)), resolution) - _pixels(case, resolution)
    strength = np.abs(difference).mean(axis=2)
    return float((strength >= 8).mean()), float(np.median(strength[strength > 0.6 * strength.max()]))


@pytest.mark.parametrize(
    "label", [label for label in LABELS if spec_of(label).graded_by == "size" and label != "left consolidation"]
)
def test_a_larger_finding_covers_more(label):
    spec, zone = spec_of(label), "mid" if kind_of(label) in ("nodule", "consolidation") else None
    domain = CHEST if label in LABELS_BY_DOMAIN[CHEST] else PATHOLOGY
    sizes = np.geomspace(*spec.sizes, 4)
    shares = [_changed_by(Finding(label, "mild", float(size), spec.contrasts[1], 1, zone), domain)[0] for size in sizes]
    assert shares == sorted(shares)
    assert shares[-1] > 1.5 * shares[0]


def test_a_nodule_has_the_size_and_contrast_it_says():
    for diameter, contrast in ((20.0, 0.4), (30.0, 0.2), (44.0, 0.55)):
        share, strength = _changed_by(Finding("left nodule", "mild", diameter, contrast, 1, "mid", ((0.2, 0.43),)), CHEST, 256)
        assert np.sqrt(share * 4 / np.pi) * CHEST_MM == pytest.approx(diameter, rel=0.2)
        assert strength / 255 == pytest.approx(contrast, rel=0.25)


@pytest.mark.parametrize("kind", ["glands", "lymphocytic infiltrate", "pigment"])
def test_counts_are_drawn(kind):
    size, contrast = spec_of(kind).sizes[0], spec_of(kind).contrasts[1]
    places = ((0.25, 0.25), (0.75, 0.75), (0.25, 0.75))
    one, three = (_changed_by(Finding(kind, "mild", size, contrast, n, None, places[:n]), PATHOLOGY)[0] for n in (1, 3))
    assert 2.0 < three / one < 4.0


def test_a_visit_later_the_nodule_is_where_it_was():
    cases = (sample_case("train", index) for index in range(0, 3000, 2))
    case = next(c for c in cases if c.prior and c.has("left nodule") and c.prior.has("left nodule"))
    assert case.finding("left nodule").places == case.prior.finding("left nodule").places


def test_contrast_is_exact_over_lung_and_less_over_what_is_bright():
    image = np.array([[LUNG, 0.6, 1.0]], np.float32)
    brighten(image, 0.4, np.ones((1, 3), np.float32))
    assert image[0, 0] == pytest.approx(LUNG + 0.4)
    assert image[0, 1] - 0.6 == pytest.approx(0.4 * 0.4 / (1 - LUNG))
    assert image[0, 2] == 1.0


@pytest.mark.parametrize("resolution", [32, 96, 100])
def test_any_resolution_in_range_is_drawn(resolution):
    for index in (0, 1):
        assert PhantomV2.draw(sample_case("val", index), resolution).size == (resolution, resolution)
