"""Cases: pure functions of their index, evolving from visit to visit, with twins that differ in one finding."""

import math
from dataclasses import replace

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.data.phantom.labels import CHEST, DOMAINS, LABELS, LABELS_BY_DOMAIN, PATHOLOGY, kind_of
from medim.data.phantom.v2.cases import CHANGED, COHORT, LATER, Case, appears, change, sample_case, twin
from medim.data.phantom.v2.findings import TABLES, ZONES, Finding, severity_of, spec_of
from medim.data.phantom.v2.placement import conflict

CASES = [sample_case("train", index) for index in range(3000)]


def test_a_case_depends_on_split_and_index_alone():
    for index in (0, 1, 7, 262_143):
        assert sample_case("train", index) == sample_case("train", index)
    assert sample_case("train", 5).findings != sample_case("val", 5).findings
    assert [sample_case("test", index).domain for index in range(4)] == [*DOMAINS, *DOMAINS]


def test_what_is_outside_is_told():
    with pytest.raises(UserError, match="unknown split 'vall'; did you mean 'val'"):
        sample_case("vall", 0)
    for index in (-1, COHORT.sizes["val"]):
        with pytest.raises(IndexError, match="phantom-v2 val has 4096 pairs"):
            sample_case("val", index)


def test_findings_are_of_their_domain_in_order_within_their_ranges():
    for case in CASES:
        assert list(case.labels) == [label for label in LABELS_BY_DOMAIN[case.domain] if case.has(label)]
        for finding in case.findings:
            spec = spec_of(finding.label)
            assert spec.sizes[0] - 1e-9 <= finding.size <= spec.sizes[1] + 1e-9
            assert spec.contrasts[0] - 1e-9 <= finding.contrast <= spec.contrasts[1] + 1e-9
            assert 1 <= finding.count <= len(spec.counts)
            assert (finding.zone in ZONES) == (kind_of(finding.label) in ("consolidation", "nodule"))
            assert finding.severity == severity_of(finding.label, finding.size, finding.contrast)
            assert len(finding.places) in (0, finding.count)


def test_no_finding_hides_another():
    for case in CASES:
        for a in case.findings:
            assert not any(conflict(a, b) for b in case.findings if b is not a)


def test_cellularity_follows_from_the_findings():
    for case in CASES:
        if case.domain == CHEST:
            assert case.cellularity is None
        else:
            expected = "low" if case.has("low cellularity") else "high" if case.has("high cellularity") else "moderate"
            assert case.cellularity == expected
    assert {case.cellularity for case in CASES if case.domain == PATHOLOGY} == {"low", "moderate", "high"}


def test_prevalence_is_what_the_card_says():
    chest = [case for case in CASES if case.domain == CHEST]
    share = {label: np.mean([case.has(label) for case in chest]) for label in LABELS_BY_DOMAIN[CHEST]}
    assert 0.30 < np.mean([not case.findings for case in chest]) < 0.41
    assert 0.18 < share["cardiomegaly"] < 0.28
    assert 0.02 < share["left pneumothorax"] < 0.07
    assert 0.13 < share["left effusion"] < 0.22
    sick = [case for case in chest if case.has("cardiomegaly")]
    assert np.mean([case.has("left effusion") for case in sick]) > 1.5 * share["left effusion"]
    assert np.mean([case.has("pulmonary edema") for case in sick]) > 1.5 * share["pulmonary edema"]
    both = np.mean([case.has("left effusion") and case.has("right effusion") for case in chest])
    assert both > 2 * share["left effusion"] * share["right effusion"]


def test_a_later_visit_knows_the_one_before():
    assert [COHORT.locate("train", 2 * study)[1:] for study in range(4)] == [(0, 0), (1, 0), (1, 1), (2, 0)]
    for index, case in enumerate(CASES):
        assert (case.prior is not None) == (case.visit > 0)
        if case.prior is not None:
            assert case.prior == replace(CASES[index - 2], prior=None)
            assert (case.prior.patient, case.prior.domain) == (case.patient, case.domain)


def test_findings_evolve_in_every_way():
    seen: dict[str, int] = {}
    for case in CASES:
        for label in LABELS_BY_DOMAIN[case.domain]:
            how = change(case, label)
            seen[str(how)] = seen.get(str(how), 0) + 1
            assert (how is None) == (case.prior is None or not (case.has(label) or case.prior.has(label)))
    assert min(seen[how] for how in ("new", "resolved", "increased", "decreased", "unchanged")) > 100


def _chest(*findings: Finding, prior: Case | None = None) -> Case:
    return Case("test", 0, CHEST, 0, 1 if prior else 0, findings, prior)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (50.0, 50.0 * CHANGED, "increased"),
        (50.0, 50.0 * CHANGED - 0.1, "unchanged"),
        (60.0, 60.0 / CHANGED, "decreased"),
        (60.0, 51.0, "unchanged"),
    ],
)
def test_change_is_read_from_the_size(before, now, expected):
    old, new = (Finding("left effusion", "mild", size, 0.4) for size in (before, now))
    assert change(_chest(new, prior=_chest(old)), "left effusion") == expected
    assert change(_chest(new, prior=_chest()), "left effusion") == "new"
    assert change(_chest(prior=_chest(old)), "left effusion") == "resolved"
    assert change(_chest(prior=_chest()), "left effusion") is None
    assert change(_chest(new), "left effusion") is None


def test_change_of_edema_is_read_from_its_contrast_and_devices_do_not_change():
    old, new = Finding("pulmonary edema", "mild", 80, 0.20), Finding("pulmonary edema", "severe", 80, 0.40)
    assert change(_chest(new, prior=_chest(old)), "pulmonary edema") == "increased"
    tip, lower = Finding("endotracheal tube", "moderate", 60, 0.5), Finding("endotracheal tube", "moderate", 20, 0.5)
    assert change(_chest(lower, prior=_chest(tip)), "endotracheal tube") == "unchanged"


def test_twins_differ_in_exactly_one_finding():
    added = 0
    for case in CASES[:400]:
        for label in LABELS_BY_DOMAIN[case.domain]:
            try:
                other = twin(case, label)
            except UserError:
                assert not case.has(label)
                continue
            assert other.has(label) != case.has(label)
            assert [f for f in other.findings if f.label != label] == [f for f in case.findings if f.label != label]
            assert (other.prior, other.index, other.patient) == (case.prior, case.index, case.patient)
            if not case.has(label):
                added += 1
                assert twin(other, label) == case
                assert not any(conflict(other.finding(label), f) for f in case.findings)
    assert added > 1000


def test_a_twin_of_low_cellularity_is_moderate():
    case = next(case for case in CASES if case.has("low cellularity"))
    assert twin(case, "low cellularity").cellularity == "moderate"
    with pytest.raises(UserError, match="no room for 'high cellularity'"):
        twin(case, "high cellularity")


def test_a_twin_by_a_label_of_the_other_domain_is_told():
    with pytest.raises(UserError, match="unknown chest finding 'glands'"):
        twin(CASES[0], "glands")
    with pytest.raises(UserError, match="unknown pathology finding 'gland'; did you mean 'glands'"):
        twin(CASES[1], "gland")


def test_every_label_occurs():
    assert {label for case in CASES for label in case.labels} == set(LABELS)


def test_log_odds_add_up():
    own = TABLES.odds["left effusion"]
    odds = own.rest + 0.5 * own.illness + own.raised["cardiomegaly"]
    present = {"cardiomegaly", "pacemaker"}
    assert appears("left effusion", present, 0.5, first=True) == pytest.approx(1 / (1 + math.exp(-odds)))
    assert appears("left effusion", present, 0.5, first=False) == pytest.approx(LATER / (1 + math.exp(-odds)))
    assert appears("low cellularity", {"high cellularity"}, 0.0, first=True) < 1e-8


def test_every_label_has_its_rates_and_depends_on_earlier_ones_only():
    assert set(TABLES.odds) == set(TABLES.persistence) == set(LABELS)
    for domain, order in TABLES.order.items():
        assert sorted(order) == sorted(LABELS_BY_DOMAIN[domain])
        for place, label in enumerate(order):
            assert set(TABLES.odds[label].raised) <= set(order[:place])
    assert sum(share for share, _ in TABLES.trend) == pytest.approx(1.0)


def test_noise_shares_its_coarse_part_and_adds_finer():
    case, other = sample_case("val", 3), sample_case("val", 4)
    small, large = (case.noise(0, side, (64, 128, 256)) for side in (64, 256))
    reduced = large.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.8
    assert case.noise(0, 32, (64, 128)).max() == 0.0
    assert (case.noise(1, 64, (64,)) != small).any()
    assert (other.noise(0, 64, (64,)) != small).any()
