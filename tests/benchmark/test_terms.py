import pytest

from benchmark.terms import withheld


@pytest.mark.parametrize(
    "terms",
    ["PhysioNet Credentialed Health Data License 1.5.0", "under a data use agreement", "DUA signed", "Restricted access"],
)
def test_restricted(terms):
    assert withheld(terms)


@pytest.mark.parametrize("terms", ["CC BY 4.0", "CC0-1.0 (procedural, synthetic: no patient)", "gradual release, MIT", ""])
def test_open(terms):
    assert not withheld(terms)
