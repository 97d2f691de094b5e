import json

import pytest

from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.data.sources.folder import FolderDataset
from medim.data.sources.reports_only import ReportsOnly, holds_reports_only

LINE = {"id": "a", "report": "clear lungs .", "split": "test", "patient": "p", "terms": "MIT", "domain": "chest-xray"}


def write(folder, *rows):
    folder.mkdir(exist_ok=True)
    (folder / "reports.jsonl").write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return folder


def test_reports_are_pairs_with_a_black_pixel(tmp_path):
    folder = write(tmp_path / "refs", LINE, {"id": "b", "report": "x", "split": "train"}, {**LINE, "id": "c", "findings": []})
    data = load_dataset(str(folder))
    assert isinstance(data, ReportsOnly)
    assert (data.name, data.terms, data.domains, data.synthetic) == ("refs", "MIT; not stated", ("chest-xray",), False)
    assert [data.size(split) for split in ("train", "val", "test")] == [1, 0, 2]
    first, second = (data.pair("test", index) for index in range(2))
    assert (first.id, first.report, first.patient, first.findings) == ("a", "clear lungs .", "p", None)
    assert second.findings == ()
    assert (first.image.size, first.image.getpixel((0, 0))) == ((1, 1), (0, 0, 0))
    assert data.keys("train", 0) == ("b", "b", "b")
    assert data.image_checker() is data.report_checker() is None


def test_the_fingerprint_follows_the_content(tmp_path):
    first = ReportsOnly(write(tmp_path / "a", LINE)).fingerprint
    spaced = json.dumps(LINE, indent=None, separators=(" , ", " : "))
    assert ReportsOnly(write(tmp_path / "b", spaced)).fingerprint == first
    assert ReportsOnly(write(tmp_path / "c", {**LINE, "report": "other"})).fingerprint != first


def test_pairs_come_before_reports(tmp_path):
    folder = write(tmp_path / "both", LINE)
    assert holds_reports_only(folder)
    (folder / "pairs.jsonl").write_text("")
    assert not holds_reports_only(folder)
    with pytest.raises(UserError, match="holds no pairs"):
        FolderDataset(folder)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], r"reports.jsonl:1: broken JSON"),
        ([LINE, {**LINE, "split": "val"}], r":2: id 'a' stands in line 1 already"),
        ([LINE, {**LINE, "id": "b", "split": "val"}], r":2: patient 'p' is in split 'val' here and in 'test' in line 1"),
        ([{**LINE, "split": "tset"}], r":1: unknown split 'tset'; did you mean 'test'"),
        ([{**LINE, "report": " "}], r":1: field 'report' must be a text, not empty"),
        ([{"id": "a", "split": "test"}], r":1: field 'report' is missing"),
        ([{**LINE, "image": "a.png"}], r":1: field 'image' belongs into pairs.jsonl"),
        ([{**LINE, "findings": "none"}], r":1: field 'findings' must be a list of strings"),
        ([{**LINE, "report": "\ud800"}], r":1: a text holds half of a surrogate pair"),
        ([{**LINE, "patient": 3}], r":1: field 'patient' must be a string"),
        (["", ""], "holds no reports"),
    ],
)
def test_mistakes_name_file_line_and_field(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        ReportsOnly(write(tmp_path / "refs", *rows))


def test_splits_and_places_outside(tmp_path):
    data = ReportsOnly(write(tmp_path / "refs", LINE))
    with pytest.raises(UserError, match="unknown split 'dev'"):
        data.size("dev")
    with pytest.raises(IndexError, match="there is no number 1"):
        data.pair("test", 1)
