"""Numbers by split against hand counts, and the warnings that they give rise to."""

import numpy as np
import pytest
from PIL import Image


def issue(report, kind):
    (found,) = [issue for issue in report.issues if issue.kind == kind]
    return found


def table(report, title) -> dict[str, tuple[str, ...]]:
    (found,) = [table for table in report.tables if table.title == title]
    return {name.strip(): cells for name, cells in found.rows}


def test_numbers_by_split(checked, row):
    report = checked(
        row("a", "train", report="one two three four", findings=["effusion", "edema"]),
        row("b", "train", report="one two three", findings=["effusion"], study="s-a", patient="p-a"),
        row("c", "train", report="one " * 70, findings=[]),
        row("d", "test", report="five six seven", findings=["nodule"], terms="CC BY 4.0"),
    )
    train, val, test = (report.statistics[split] for split in ("train", "val", "test"))
    assert (train["pairs"], train["patients"], train["studies"]) == (3, 2, 2)
    assert train["reports"]["words"] == pytest.approx({"least": 3, "5 %": 3.1, "median": 4, "95 %": 63.4, "most": 70})
    assert train["reports"]["vocabulary"] == 4
    assert train["reports"]["longer"] == {"64": 1 / 3, "128": 0, "256": 0}
    assert train["findings"] == {"effusion": 2 / 3, "edema": 1 / 3}
    assert test["findings"] == {"nodule": 1.0}
    assert val["pairs"] == 0
    assert test["terms"] == {"CC BY 4.0": 1}
    assert table(report, "prevalence of findings")["effusion"] == ("66.7%", "0.0%", "0.0%")
    assert table(report, "reports")["longer than 64 words"] == ("33.3%", "0.0%", "0.0%")
    assert "nodule" in issue(report, "unseen-findings").message


def test_pictures_that_show_little(checked, row, pictures):
    unscaled = np.asarray(pictures[0].convert("L")).astype(np.uint16) * 16  # 12-bit values in a 16-bit file
    flat = Image.fromarray(np.full((32, 32), 120, np.uint8))
    report = checked(
        row("a", "train"), row("b", "train"), row("c", "test"), images={"b.png": Image.fromarray(unscaled), "c.png": flat}
    )
    assert issue(report, "dark-images").examples == ("train 'b'",)
    assert "12-bit values" in issue(report, "dark-images").advice
    assert issue(report, "flat-images").examples == ("test 'c'",)


def test_flat_pictures_are_no_copies_of_each_other(checked, row):
    images = {f"{name}.png": Image.new("L", (32, 32), level) for name, level in (("a", 20), ("b", 200))}
    report = checked(row("a", "train"), row("b", "test"), images=images)
    assert {issue.kind for issue in report.issues} == {"flat-images"}


def test_damaged_short_and_unusual_texts_and_missing_terms(checked, row):
    report = checked(
        row("a", "train", report="fever of 38 Â°C today"),
        row("b", "train", report="fever 38.3?C in the morning", terms=None),
        row("c", "test", report="normal"),
    )
    assert issue(report, "damaged-text").examples == ("train 'b': question marks inside words", "train 'a': mojibake")[::-1]
    assert issue(report, "short-reports").examples == ("test 'c'",)
    assert "U+00B0 DEGREE SIGN 1x" in issue(report, "unusual-characters").message
    assert issue(report, "terms").message == "1 pairs state no terms"


def test_a_set_of_images_only(folder, row):
    from medim.data.checks.check import check_dataset
    from medim.data.sources.folder import FolderDataset

    path = folder(row("a", "train", report=None))
    (path / "pairs.jsonl").rename(path / "images.jsonl")
    report = check_dataset(FolderDataset(path))
    assert [issue.kind for issue in report.issues] == ["images-only"]
    assert "reports" not in [table.title for table in report.tables]
