"""Cases: prevalence, combinations that must not occur, patients, determinism."""

from collections import Counter, defaultdict

import pytest

from medim.common.errors import UserError
from medim.data.phantom.labels import CHEST, DOMAINS, LABELS, LABELS_BY_DOMAIN, PATHOLOGY, SIDES
from medim.data.phantom.v1.cases import COHORT, MAX_FINDINGS, sample_case


@pytest.fixture(scope="module")
def cases():
    return [sample_case("train", index) for index in range(8_000)]


def test_labels_are_eighteen_and_unique():
    assert len(LABELS) == len(set(LABELS)) == 18
    assert [len(LABELS_BY_DOMAIN[domain]) for domain in DOMAINS] == [12, 6]


def test_domains_alternate_so_that_every_prefix_is_balanced(cases):
    assert [case.domain for case in cases[:6]] == [CHEST, PATHOLOGY] * 3


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_label_has_a_prevalence_of_10_to_30_percent_in_its_domain(cases, domain):
    own = [case for case in cases if case.domain == domain]
    counts = Counter(label for case in own for label in case.labels)
    assert set(counts) == set(LABELS_BY_DOMAIN[domain])
    for label, count in counts.items():
        assert 0.10 <= count / len(own) <= 0.30, label
    normal = sum(not case.labels for case in own) / len(own)
    assert 0.10 <= normal <= 0.20


def test_at_most_four_findings_and_all_multiplicities_occur(cases):
    assert {len(case.labels) for case in cases} == set(range(MAX_FINDINGS + 1))


def test_no_finding_hides_another(cases):
    for case in cases:
        if case.domain != CHEST:
            continue
        grade = case.attributes
        for side in SIDES:
            lung = [f"{side} consolidation", f"{side} nodule", f"{side} pneumothorax"]
            assert sum(case.has(label) for label in lung) <= 1, case
            assert not (grade.get(f"{side} consolidation") == "lower" and case.has(f"{side} effusion"))
            if grade.get(f"{side} effusion") == "large":
                assert not any(case.has(label) for label in (*lung, "pulmonary edema"))
            if case.has("pulmonary edema"):
                assert not case.has(f"{side} consolidation")
                assert not case.has(f"{side} nodule")
        assert not (grade.get("left consolidation") == "upper" and case.has("pacemaker"))
        assert not (grade.get("left consolidation") == "lower" and case.has("cardiomegaly"))
        assert not (case.has("left pneumothorax") and case.has("right pneumothorax"))


def test_attributes_agree_with_findings(cases):
    for case in cases:
        if case.domain == CHEST:
            for label in case.labels:
                kind = label.split()[-1]
                allowed = {"effusion": ("small", "large"), "nodule": ("small", "large"), "consolidation": ("upper", "lower")}
                if kind in allowed:
                    assert case.attributes[label] in allowed[kind]
            assert set(case.attributes) <= set(case.labels)
        else:
            density = case.attributes["cellularity"]
            assert case.has("low cellularity") == (density == "low")
            assert case.has("high cellularity") == (density == "high")
            assert ("glands" in case.attributes) == case.has("glands")
            assert ("lymphocytic infiltrate" in case.attributes) == case.has("lymphocytic infiltrate")


def test_patients_have_one_to_three_studies_and_thirty_percent_have_more_than_one():
    studies = defaultdict(list)
    for index in range(0, 2 * sum(COHORT.studies) * 20, 2):
        _, patient, visit = COHORT.locate("train", index)
        studies[patient].append(visit)
    assert all(visits == list(range(len(visits))) for visits in studies.values())
    sizes = Counter(len(visits) for visits in studies.values())
    assert sizes == {1: 140, 2: 40, 3: 20}


def test_a_case_is_a_function_of_split_and_index(cases):
    assert sample_case("train", 17) == cases[17]
    assert [sample_case("val", i).labels for i in range(64)] != [case.labels for case in cases[:64]]


def test_unknown_split_and_outside_index_are_told():
    with pytest.raises(UserError, match="unknown split 'tests'; did you mean 'test'"):
        sample_case("tests", 0)
    with pytest.raises(IndexError, match="phantom val has 1024 pairs; index 1024"):
        sample_case("val", COHORT.sizes["val"])
