"""What splits share is an error that names both sides; what one patient may share is none."""

import io

from PIL import Image, ImageEnhance

from medim.data.checks.check import check_dataset
from medim.data.sources.folder import FolderDataset


def kinds(report) -> dict[str, str]:
    return {issue.kind: issue.severity for issue in report.issues}


def issue(report, kind):
    (found,) = [issue for issue in report.issues if issue.kind == kind]
    return found


def test_a_sound_set_has_nothing_to_complain_about(checked, row):
    report = checked(row("a", "train"), row("b", "train"), row("c", "val"), row("d", "test"))
    assert report.issues == ()
    assert report.lines()[-1] == "nothing to complain about"


def test_a_patient_in_two_splits(checked, row):
    report = checked(row("a", "train", patient="x"), row("b", "val"), row("c", "test", patient="x"))
    assert kinds(report) == {"patient-leakage": "error"}
    found = issue(report, "patient-leakage")
    assert found.message == "1 patient occurs in several splits"
    assert found.examples == ("patient 'x': train 'a' (patient 'x') and test 'c' (patient 'x')",)
    assert "--allow patient-leakage" in found.advice


def test_studies_are_numbered_within_patients(checked, row):
    report = checked(row("a", "train", study="study1"), row("b", "train", study="study1"), row("c", "test", study="study1"))
    assert kinds(report) == {}
    assert report.statistics["train"]["studies"] == 2


def test_the_same_pixels_under_two_patients(checked, row, pictures):
    across = checked(
        row("a", "train"), row("b", "test"), row("c", "test"), images={"a.png": pictures[3], "b.png": pictures[3]}
    )  # other files, the same pixels
    assert kinds(across) == {"image-leakage": "error"}
    assert issue(across, "image-leakage").examples == ("2 times: train 'a' (patient 'p-a') and test 'b' (patient 'p-b')",)


def test_copies_in_one_split_are_a_warning_and_of_one_patient_a_note(checked, row, pictures):
    same = {"a.png": pictures[3], "b.png": pictures[3]}
    assert kinds(checked(row("a", "train"), row("b", "train"), images=same)) == {"duplicate-images": "warning"}
    one = checked(row("a", "train", patient="x"), row("b", "train", patient="x"), images=same)
    assert kinds(one) == {"repeated-images": "note"}
    assert issue(one, "repeated-images").message == "1 pair repeats an image of the same patient"


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    ImageEnhance.Contrast(image).enhance(0.9).save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


def test_a_near_copy_across_splits(checked, row, pictures):
    copies = {"a.png": pictures[5], "c.png": recompressed(pictures[5])}
    report = checked(row("a", "train"), row("b", "train"), row("c", "test"), images=copies)
    assert kinds(report) == {"near-duplicates": "error"}
    found = issue(report, "near-duplicates")
    assert found.message.startswith("1 held-out image is a near copy")
    assert found.examples[0].startswith("train 'a' (patient 'p-a') ~ test 'c' (patient 'p-c'): detail correlates 0.9")


def test_a_near_copy_within_a_split_or_of_one_patient(checked, row, pictures):
    copies = {"a.png": pictures[5], "b.png": recompressed(pictures[5])}
    assert kinds(checked(row("a", "train"), row("b", "train"), images=copies)) == {"near-duplicates-within": "warning"}
    assert kinds(checked(row("a", "train", patient="x"), row("b", "train", patient="x"), images=copies)) == {}


def test_what_was_not_compared_is_said(checked, row, pictures, monkeypatch):
    monkeypatch.setattr("medim.data.checks.leakage.COMPARED", 1)
    copies = {"a.png": pictures[5], "b.png": recompressed(pictures[5]), "c.png": recompressed(recompressed(pictures[5]))}
    report = checked(row("a", "train"), row("b", "test"), row("c", "val"), images=copies)
    assert kinds(report) == {"near-duplicates": "error", "near-candidates": "warning"}
    assert issue(report, "near-candidates").message.startswith("3 pairs under different patients in different splits")


def test_reports_of_several_studies(checked, row):
    long = "one two three four five six seven eight nine ten " * 2
    report = checked(row("a", "train", report=long), row("b", "test", report=long.upper()), row("c", "test"))
    assert kinds(report) == {"report-leakage": "warning", "repeated-reports": "note"}
    assert issue(report, "repeated-reports").message.startswith("66.7% of the reports")
    terse = checked(row("a", "train", report="no acute finding"), row("b", "test", report="No acute  finding"))
    assert kinds(terse) == {"repeated-reports": "note"}
    study = checked(
        row("a", "train", report=long, study="s", patient="x"), row("b", "train", report=long, study="s", patient="x")
    )
    assert kinds(study) == {}


def test_near_copies_of_a_synthetic_set_are_a_warning(folder, row, pictures, monkeypatch):
    copies = {"a.png": pictures[5], "c.png": recompressed(pictures[5])}
    path = folder(row("a", "train"), row("c", "test"), images=copies)
    monkeypatch.setattr(FolderDataset, "synthetic", True)
    assert kinds(check_dataset(FolderDataset(path))) == {"near-duplicates": "warning"}
