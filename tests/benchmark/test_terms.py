import pytest

from benchmark.terms import joined, model_terms, withheld


@pytest.mark.parametrize(
    "terms",
    [
        "PhysioNet Credentialed Health Data License 1.5.0", "under a data use agreement", "DUA signed", "Restricted access",
        "MIMIC-CXR DUA; CC BY 4.0", "MIMIC-CXR (DUA)", "under a DUA.", "VinDr_DUA/2", "DUAs", "data-use agreement",
        "Data Use\n Agreements", "https://physionet.org", "restricted-access",
    ],
)  # fmt: skip
def test_terms_that_restrict_are_known_whatever_stands_beside_them(terms):
    assert withheld(terms)


@pytest.mark.parametrize(
    "terms",
    ["CC BY 4.0", "CC0-1.0 (procedural, synthetic: no patient)", "gradual release, MIT", "", "unrestricted use", "individual"],
)
def test_open(terms):
    assert not withheld(terms)


def test_a_trained_model_tells_what_it_learned_under():
    assert model_terms("phantom-tiny").startswith("CC0-1.0")
    assert model_terms("baseline:constant") is None
    assert model_terms("no/such/folder") is None


def test_terms_are_joined_each_once():
    assert joined("MIMIC-CXR DUA", None, "CC0-1.0; MIMIC-CXR DUA") == "MIMIC-CXR DUA; CC0-1.0"
    assert withheld(joined("CC0-1.0", "MIMIC-CXR DUA"))
