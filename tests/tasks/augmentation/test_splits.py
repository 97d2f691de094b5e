import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.sources.selection import Subset
from medim.pair import ImageReportPair
from tasks.augmentation.splits import divide

SIZES = {"train": 80, "val": 20, "test": 30}


class Clinic:
    """Two pairs a patient, of two studies; `shared` puts a training patient into the test split."""

    name, fingerprint, synthetic, terms, domains = "clinic", "c1", True, "CC0-1.0", ("chest",)

    def __init__(self, shared: bool = False) -> None:
        self.shared = shared

    def size(self, split: str) -> int:
        return SIZES[split]

    def pair(self, split: str, index: int) -> ImageReportPair:
        patient = f"{split}{index // 2}"
        if self.shared and split == "test":
            patient = f"train{index // 2}"
        id = f"{split}-{index}"
        return ImageReportPair(id, Image.new("RGB", (12, 8), (index, 0, 0)), f"report {id}", split, id, patient)

    def image_checker(self):
        return None

    def report_checker(self):
        return None


def sizes(**given):
    return {"train": 0.25, "further": 1, "validation": 7, "test": 10} | given


def test_no_patient_is_in_two_sets_and_patients_are_whole():
    division = divide(Clinic(), **sizes())
    patients = {name: set(division.patients(name)) for name in division.rows}
    assert sum(map(len, patients.values())) == len(set().union(*patients.values()))
    sizes_of = {name: len(rows) for name, rows in division.rows.items()}
    assert sizes_of == {"real": 20, "further": 20, "validation": 6, "test": 10}
    tested = [key.patient for key in division.keys["test"]]
    assert all(tested.count(patient) == 2 for patient in patients["test"])


def test_the_low_data_set_is_that_of_the_data_expression():
    """`--data clinic:train=25%` and a preset of 25 % are one, so a generator trained on the former is budget-matched."""
    named, preset = divide(Subset(Clinic(), 0.25), **sizes(train=0.9)), divide(Clinic(), **sizes())
    assert named.subset.fingerprint == preset.subset.fingerprint
    assert named.fingerprint == preset.fingerprint


def test_further_pairs_are_those_that_a_larger_share_would_add():
    division = divide(Clinic(), **sizes())
    larger = Subset(Clinic(), 0.5)
    named = {key.id for name in ("real", "further") for key in division.keys[name]}
    assert {larger.pair("train", index).id for index in range(larger.size("train"))} == named


def test_images_are_squares_and_cases_carry_their_patients():
    division = divide(Clinic(), **sizes())
    assert {example.image.size for example in division.examples("real", 8)} == {(8, 8)}
    assert [case.patient for case in division.cases("test", 8)] == [key.patient for key in division.keys["test"]]
    assert len(division.examples("further", 8, 3)) == 3


def test_a_patient_in_two_splits_is_refused():
    with pytest.raises(UserError, match=r"is in .* and in test"):
        divide(Clinic(shared=True), **sizes(further=10))
