"""Labels of checkers stand for the data's findings by name, by another name of CheXpert's, or as a file says."""

import pytest

from medim.common.errors import UserError
from medim.perception.densenet import PATHOLOGIES
from tasks.adapters.checkers.label_map import Entry, LabelMap, read_label_file

MIMIC = ["atelectasis", "cardiomegaly", "edema", "lung lesion", "pleural effusion", "pleural other", "support devices"]


def mapped(labels, findings, given=()) -> dict:
    names = LabelMap.of(labels, findings, dict(given), "labels.yaml: image")
    return {finding: [labels[place] for place in places] for finding, places in names.columns.items()}


def test_torchxrayvisions_names_find_mimics():
    assert mapped(PATHOLOGIES, MIMIC) == {
        "atelectasis": ["Atelectasis"],
        "cardiomegaly": ["Cardiomegaly"],
        "edema": ["Edema"],
        "lung lesion": ["Nodule", "Mass", "Lung Lesion"],
        "pleural effusion": ["Effusion"],
        "pleural other": ["Pleural_Thickening"],
    }


def test_the_datas_spelling_is_kept_and_the_nearest_name_wins():
    assert mapped(["Nodule", "Mass"], ["Mass", "Nodule"]) == {"Mass": ["Mass"], "Nodule": ["Nodule"]}
    assert mapped(["LUNG_LESION"], ["Mass", "Nodule"]) == {}  # which of the two is not known
    assert mapped(["Effusion", "No Finding"], ["Pleural Effusion", "No Finding"]) == {"Pleural Effusion": ["Effusion"]}


def test_without_findings_each_label_is_one_by_chexperts_name():
    assert mapped(["Effusion", "Hernia", "normal"], None) == {"pleural effusion": ["Effusion"], "hernia": ["Hernia"]}


def test_a_file_comes_first(tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text("image:\n  Pneumonia: {finding: COVID-19, threshold: 0.3}\n  Lung Opacity: COVID-19\n  Edema:\n")
    given = read_label_file(path).image
    assert given == {
        "Pneumonia": Entry(finding="COVID-19", threshold=0.3),
        "Lung Opacity": Entry(finding="COVID-19"),
        "Edema": None,
    }
    labels = ["Edema", "Lung Opacity", "Pneumonia"]
    assert mapped(labels, ["COVID-19", "edema"], given) == {"COVID-19": ["Lung Opacity", "Pneumonia"]}
    assert LabelMap.of(labels, ["COVID-19"], given, "").thresholds == {"COVID-19": 0.3}
    assert read_label_file(None).image == {}


def test_the_hash_follows_the_map_alone():
    one = LabelMap.of(["Edema"], ["edema"], {}, "")
    assert one.fingerprint == LabelMap.of(["Edema", "Hernia"], ["edema"], {}, "").fingerprint
    assert one.fingerprint != LabelMap.of(["Edema"], ["fluid"], {"Edema": "fluid"}, "").fingerprint


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Efusion": "edema"}, "labels.yaml: image: unknown label 'Efusion'; did you mean 'Effusion'"),
        ({"Effusion": "edem"}, "label 'Effusion': unknown finding 'edem'; did you mean 'edema'"),
        (
            {"Effusion": Entry(finding="edema", threshold=0.1), "Edema": Entry(finding="edema", threshold=0.2)},
            "finding 'edema' has two thresholds",
        ),
    ],
)
def test_mistakes_in_it_are_named(given, message):
    with pytest.raises(UserError, match=message):
        mapped(["Effusion", "Edema"], ["edema"], given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: {}", "unknown field 'images'; did you mean 'image'"),
        ("image: {Edema: {finding: edema, threshold: 2}}", r"field 'image\.Edema\.threshold': .*less than or equal to 1"),
        ("- 1", "a mapping of fields"),
    ],
)
def test_a_file_of_another_form_is_refused(text, message, tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_label_file(path)
    assert "labels.yaml" in str(error.value)
    with pytest.raises(UserError, match=r"none\.yaml' does not exist"):
        read_label_file(tmp_path / "none.yaml")
