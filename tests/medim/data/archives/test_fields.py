import pytest
from pydantic import ValidationError

from medim.common.errors import UserError
from medim.data.archives.archive import FractionOptions, PatientOptions, UniqueIds
from medim.data.archives.fields import inside, known_split, one_line
from medim.data.archives.tables import require_columns
from medim.data.splits import assign


@pytest.mark.parametrize(
    ("name", "path"), [("a.png", "a.png"), ("./a//b.png", "a/b.png"), ("a/../b.png", "b.png"), ("p 1/ü.png", "p 1/ü.png")]
)
def test_a_path_is_normalised(name, path):
    assert inside(name) == path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../a.png", "leads outside"),
        ("a/../../b.png", "leads outside"),
        ("/etc/passwd", "absolute"),
        ("C:\\a.png", "absolute"),
        ("\\\\host\\a.png", "absolute"),
        ("", "no path"),
        ("a\0.png", "no path"),
        ("a/..", "folder of images itself"),
    ],
)
def test_a_path_that_leaves_is_refused_by_name(name, says):
    with pytest.raises(UserError, match=says) as error:
        inside(name)
    assert name in str(error.value) or "\0" in name


def test_ids_are_unique_whatever_the_source_holds():
    unique = UniqueIds()
    assert [unique(name) for name in ("a", "a", "a-2", "b", "a")] == ["a", "a-2", "a-2-2", "b", "a-3"]
    assert unique.repeated == 3


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("Validation", "val"), (" dev ", "val"), ("TEST", "test"), ("    ", None), ("all", None)],
)
def test_names_of_splits(name, split):
    assert known_split(name) == split


def test_white_space_becomes_one_space():
    assert one_line("  a\n\n b\tc\u00a0d ") == "a b c d"


def test_a_missing_column_is_named_with_the_nearest_first():
    require_columns("t.csv", ["uid", "findings"], ["uid"])
    with pytest.raises(UserError, match=r"^t\.csv: column 'findings' is missing; the columns are: finding, "):
        require_columns("t.csv", ["uid", "finding", "impression"], ["uid", "findings"])
    with pytest.raises(UserError, match="the columns are: none"):
        require_columns("t.csv", [], ["uid"])


def test_splits_are_drawn_by_patient():
    options = FractionOptions(val=0.25, test=0.25, seed=3)
    patients = [f"p{number}" for number in range(400)]
    drawn = [options.drawn_split(patient) for patient in patients]
    assert drawn == [assign(patient, {"val": 0.25, "test": 0.25}, 3) for patient in patients]
    assert 70 < drawn.count("test") < 130
    with pytest.raises(ValidationError, match="more than 1"):
        FractionOptions(val=0.6, test=0.6)


def test_a_patient_pattern_needs_a_group():
    assert PatientOptions(patient_from=r"^([^_]+)_").patient_in("p1_2.png") == "p1"
    for pattern, name in ((r"^([^_]+)_", "p1.png"), (r"^()x", "x")):
        with pytest.raises(UserError, match="does not match the id"):
            PatientOptions(patient_from=pattern).patient_in(name)
    for pattern, says in (("^p", "no group"), ("(", "no regular expression")):
        with pytest.raises(ValidationError, match=says):
            PatientOptions(patient_from=pattern)
