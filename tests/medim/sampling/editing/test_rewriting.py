"""A report with one finding more or less."""

import pytest

from medim.common.errors import UserError
from medim.sampling.editing.rewriting import with_finding


class Reader:
    """Reads `nodule`, `edema`, `large heart` and `small heart`, unless denied."""

    name, fingerprint, labels = "reader", "1", ("edema", "large heart", "nodule", "small heart")

    def __call__(self, items):
        return [self.read(item.split(".")) for item in items]

    def read(self, sentences):
        return frozenset(name for name in self.labels if any(name in s and "no " not in s for s in sentences))


DONORS = [
    *["chest. clear lungs. large heart."] * 6,
    *["chest. no nodule. small heart."] * 6,
    *["chest. nodule seen. no edema."] * 5,
    "chest. a nodule.",
    *["chest. edema present. no nodule."] * 4,
]


def test_to_add_takes_out_what_speaks_against_it():
    new = with_finding("chest. clear lungs. large heart.", "nodule", True, Reader(), DONORS)
    assert new == "chest. nodule seen. large heart."
    assert with_finding("chest. no nodule. no edema.", "nodule", True, Reader(), DONORS) == "chest. nodule seen. no edema."


def test_to_remove_tells_again_what_else_a_sentence_told():
    assert with_finding("chest. nodule seen. no edema.", "nodule", False, Reader(), DONORS) == "chest. no edema."
    both = "chest. nodule and edema. small heart."
    assert with_finding(both, "nodule", False, Reader(), DONORS) == "chest. edema present. small heart."


def test_findings_that_never_stand_together_replace_each_other():
    assert with_finding("chest. small heart.", "large heart", True, Reader(), DONORS * 4) == "chest. large heart."


def test_a_report_that_says_it_already_stays():
    assert with_finding("chest. nodule seen.", "nodule", True, Reader(), []) == "chest. nodule seen."


def test_what_cannot_be_said_is_told():
    with pytest.raises(UserError, match="did you mean 'nodule'"):
        with_finding("chest.", "nodul", True, Reader(), DONORS)
    with pytest.raises(UserError, match="no sentence of 1 reports adds 'edema'"):
        with_finding("chest.", "edema", True, Reader(), ["chest. nodule."])
