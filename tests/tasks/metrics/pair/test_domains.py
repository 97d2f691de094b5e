import numpy as np
import pytest

from tasks.metrics.pair.domains import DomainReader, nearest_domains, reading_accuracy


def angles(*degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def test_most_of_the_nearest_decide_whatever_the_length():
    references = angles(0, 2, 4, 6, 90, 92, 94, 96)
    domains = ["chest"] * 4 + ["pathology"] * 4
    assert nearest_domains(7 * angles(10, 80), references, domains) == ["chest", "pathology"]


def test_of_equally_frequent_domains_the_nearest_one_is_taken():
    references = angles(0, 10, 20, 30)
    assert nearest_domains(angles(1), references, ["a", "b", "b", "a"]) == ["a"]
    assert nearest_domains(angles(29), references, ["a", "b", "b", "a"]) == ["a"]
    assert nearest_domains(angles(12), references, ["a", "b", "b", "a"]) == ["b"]


def test_accuracy_reads_each_case_from_the_others():
    generator = np.random.default_rng(0)
    apart = np.concatenate([generator.normal([9, 0], 1, (20, 2)), generator.normal([0, 9], 1, (20, 2))])
    domains = ["chest"] * 20 + ["pathology"] * 20
    assert reading_accuracy(apart, domains) == 1
    assert reading_accuracy(generator.normal(size=(200, 8)), ["chest", "pathology"] * 100) == pytest.approx(0.5, abs=0.1)
    assert reading_accuracy(angles(0, 90), ["a", "b"]) == 0  # a case is no neighbour of its own


def test_a_report_is_of_the_domain_whose_words_it_has():
    reports = [f"the lungs are clear in case {n}" for n in range(8)] + [f"glands and stroma of slide {n}" for n in range(8)]
    domains = ["chest"] * 8 + ["pathology"] * 8
    read = DomainReader(reports, domains)
    assert read(["the stroma and glands", "clear lungs", None, "xyzzy"]) == ["pathology", "chest", None, None]
    assert DomainReader(reports, ["chest"] * 16)(["glands", None]) == ["chest", None]
    assert DomainReader(reports, [None] * 16)(["glands"]) == [None]
    assert DomainReader(["the same words"] * 16, domains)(["the same words"]) == [None]  # nothing tells them apart
