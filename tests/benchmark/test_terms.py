import pytest

from benchmark.terms import model_terms, withheld


@pytest.mark.parametrize(
    "terms",
    ["PhysioNet Credentialed Health Data License 1.5.0", "under a data use agreement", "DUA signed", "Restricted access"],
)
def test_restricted(terms):
    assert withheld(terms)


@pytest.mark.parametrize("terms", ["CC BY 4.0", "CC0-1.0 (procedural, synthetic: no patient)", "gradual release, MIT", ""])
def test_open(terms):
    assert not withheld(terms)


def test_a_trained_model_tells_what_it_learned_under():
    assert model_terms("phantom-tiny").startswith("CC0-1.0")
    assert model_terms("baseline:constant") is None
    assert model_terms("no/such/folder") is None
