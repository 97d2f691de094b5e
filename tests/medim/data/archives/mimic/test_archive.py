"""MIMIC-CXR as a whole: its pairs, views, pictures, and the data set that is prepared from it."""

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from medim.common.errors import UserError
from medim.data.archives.archive import Record, open_archive
from medim.data.archives.mimic.archive import MimicCxr
from medim.data.archives.mimic.tables import LABELS
from medim.data.sources.folder import FolderDataset


def test_the_papers_set(mimic):
    pairs, excluded, losses, archive = mimic.listed("paper")
    assert list(pairs) == ["a1", "a2", "a3", "b1", "b2", "c1", "c2", "e1", "e2", "f2", "f3"]
    assert [item.reason for item in excluded] == ["no findings or impression section"]
    assert [item.item for item in losses] == ["f1"]
    assert losses[0].reason.endswith("files/p12/p12000044/s50000008.txt' does not exist")
    assert pairs["a1"] == {
        "id": "a1",
        "report": "Seen by Dr. ___, the lungs are clear.\nNormal.",
        "split": "train",
        "patient": "p10000032",
        "study": "s50000001",
        "domain": "chest-xray",
        "terms": "PhysioNet Credentialed Health Data License 1.5.0 (MIMIC-CXR)",
        "view": "PA",
        "procedure": "CHEST (PA AND LAT)",
        "study_date": "21800506",
        "parsed_by": "heading",
        "sections": {
            "examination": "CHEST",
            "indication": "___ man.",
            "findings": "Seen by Dr. ___, the lungs are clear.",
            "impression": "Normal.",
        },
        "findings": [],
        "absent_findings": [],
        "labels": {name.lower(): 1.0 if name == "No Finding" else None for name in LABELS},
    }
    assert {pair["split"] for pair in pairs.values() if pair["patient"] == "p11000011"} == {"val"}
    assert pairs["c2"]["report"] == "As compared to the previous film, no change."
    assert "view" not in pairs["c2"]
    assert "findings" not in pairs["c2"]  # no row in the table of labels
    facts = archive.facts()
    assert facts["tables"] == {
        "split": "mimic-cxr-2.0.0-split.csv.gz",
        "metadata": "mimic-cxr-2.0.0-metadata.csv.gz",
        "labels": "mimic-cxr-2.0.0-chexpert.csv.gz",
    }
    assert facts["listed"] == {"train": 8, "val": 2, "test": 3}
    assert facts["found"] == {"train": 7, "val": 2, "test": 2}
    assert facts["expected"] == {"train": 368_960, "val": 2_991, "test": 5_159}
    assert facts["reports"]["studies"] == 8
    assert facts["reports"]["by"] == {"heading": 5, "last paragraph": 2, "none": 1, "exception": 0}
    assert facts["reports"]["share"]["heading"] == 0.625
    assert facts["reports"]["sections"]["findings"] == 3
    assert facts["reports"]["headed_with_unheaded_paragraphs"] == 0


def test_the_constant_sentence_of_the_released_texts(mimic):
    plain, opened = mimic.listed("paper")[0], mimic.listed("paper", opening="released")[0]
    opening = "The image is a radiograph of the chest, showing the thoracic cavity structures. "
    assert {name: pair["report"] for name, pair in opened.items()} == {
        name: opening + pair["report"] for name, pair in plain.items()
    }


def test_asked_twice_the_same_comes_twice(mimic):
    archive = open_archive("mimic-cxr", mimic.root)
    first, facts = list(archive.records()), archive.facts()
    packed = pickle.dumps(archive)
    assert len(packed) < 4000
    again = pickle.loads(packed)
    assert list(again.records()) == first
    assert again.facts() == facts
    json.dumps([item.fields for item in first if isinstance(item, Record)] + [facts])


@pytest.mark.parametrize(
    ("views", "ids"),
    [
        ("frontal", "a1 a3 b2 c1 e2 f2 f3"),
        ("lateral, LL", "a2 b1 e1"),
        ("PA", "a1 b2 f3"),
        ("all", "a1 a2 a3 b1 b2 c1 c2 e1 e2 f2 f3"),
    ],
)
def test_views(mimic, views, ids):
    pairs, excluded, _, archive = mimic.listed(views=views)
    assert " ".join(pairs) == ids
    if views == "frontal":
        assert sorted({item.reason for item in excluded if "view" in item.reason}) == [
            "view LATERAL",
            "view LL",
            "view not stated",
        ]
        assert archive.facts()["expected"] is None


def test_one_image_a_study(mimic):
    assert " ".join(mimic.listed(study="first")[0]) == "a1 a3 b1 c1 c2 e1 f2"
    assert " ".join(mimic.listed(study="first", views="frontal")[0]) == "a1 a3 b2 c1 e2 f2"


def test_folders_of_patients(mimic):
    pairs, excluded, losses, _ = mimic.listed(folders="p10, p11")
    assert " ".join(pairs) == "a1 a2 a3 b1 b2 c1 c2"
    assert [item.reason for item in excluded].count("folder not requested") == 5
    assert losses == []
    with pytest.raises(UserError, match="'p1' is neither all nor names like p10,p11"):
        open_archive("mimic-cxr", mimic.root, None, {"folders": "p1"})


def test_everything_in_one_folder(mimic, tmp_path):
    """JPEGs, reports and tables side by side, as some unpack them."""
    flat = tmp_path / "flat"
    (mimic.tables / "files").rename(flat)
    for report in (mimic.root / "files" / "mimic-cxr" / "2.1.0" / "files").glob("p*/p*/s*.txt"):
        report.rename(flat / report.parent.parent.name / report.parent.name / report.name)
    for table in mimic.tables.glob("*.csv.gz"):
        (flat / table.name).with_suffix("").write_bytes(gzip.decompress(table.read_bytes()))
    assert len(mimic.listed("paper", root=flat)[0]) == 11


def test_roots_that_are_none(tmp_path, mimic):
    with pytest.raises(UserError, match="does not exist"):
        open_archive("mimic-cxr", tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no folder of patients"):
        open_archive("mimic-cxr", tmp_path / "physionet.org" / "files" / "mimic-cxr-jpg" / "2.1.0" / "files" / "p10")
    with pytest.raises(UserError, match="is no folder"):
        open_archive("mimic-cxr", mimic.tables / "mimic-cxr-2.0.0-split.csv.gz")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("view", "all", "unknown option of mimic-cxr 'view'; did you mean 'views'"),
        ("section", "conclusion", "option 'section'"),
        ("underscores", "remove", "option 'underscores'"),
        ("views", "PA,LATRAL", "unknown view 'LATRAL'; did you mean 'LATERAL'"),
    ],
)
def test_options_that_are_wrong(mimic, key, value, message):
    with pytest.raises(UserError, match=message):
        mimic.listed(**{key: value})


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = pixels.astype("<u2").tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def test_prepared(mimic, tmp_path):
    """By the command: a report and a picture are missing, the rest is a data set."""
    (mimic.tables / "files" / "p10/p10000032/s50000002/a3.jpg").unlink()
    out = tmp_path / "out"
    arguments = ["data", "prepare", "mimic-cxr", "--root", str(mimic.root), "--out", str(out), "--preset", "paper"]
    result = CliRunner().invoke(main, [*arguments, "--set", "underscores=mask", "--workers", "0"])
    assert result.exit_code == 3, result.output
    dataset = FolderDataset(out)
    assert {split: dataset.size(split) for split in ("train", "val", "test")} == {"train": 6, "val": 2, "test": 2}
    assert dataset.terms == MimicCxr.terms
    pair = dataset.pair("train", 0)
    assert (pair.id, pair.findings, pair.view) == ("a1", (), "PA")
    assert pair.report == "Seen by Dr. [deid], the lungs are clear.\nNormal."
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in failures] == ["listing", "archive", "archive", "archive", "picture"]
    short = "images of train: 8 of 368,960 are in '"
    assert short in result.output
    assert short == "{item}: {reason}".format(**failures[1])[: len(short)]
    part = CliRunner().invoke(main, [*arguments, "--set", "part=true", "--overwrite", "--workers", "0"])
    assert (part.exit_code, "2 lost" in part.output, "368,960 are" in part.output) == (3, True, False), part.output
    assert any("a3.jpg' does not exist" in str(failure) for failure in failures)
    assert any("s50000008.txt' does not exist" in str(failure) for failure in failures)
    assert '"expected"' in (out / "manifest.json").read_text()


def test_pictures(mimic):
    archive = open_archive("mimic-cxr", mimic.root)
    source = next(item.source for item in archive.records() if isinstance(item, Record))
    assert source == "p10/p10000032/s50000001/a1"
    image = archive.image(source)
    assert image.size == (6, 4)
    assert abs(image.convert("L").getpixel((2, 2)) - ord("a")) <= 1


def test_dicom_pictures_where_there_is_no_jpeg(mimic):
    jpg = mimic.tables / "files" / "p10/p10000032/s50000001"
    dicom = mimic.root / "files" / "mimic-cxr" / "2.1.0" / "files" / "p10/p10000032/s50000001"
    dicom.mkdir()
    ramp = np.arange(20).reshape(4, 5) * 200
    for name in ("a1", "a2"):
        write_dicom(dicom / f"{name}.dcm", ramp)
    (jpg / "a1.jpg").unlink()
    archive = open_archive("mimic-cxr", mimic.root)
    image = archive.image("p10/p10000032/s50000001/a1")
    assert image.size == (5, 4)
    values = np.asarray(image.convert("L"))
    assert values[0, 0] == 0
    assert values[3, 4] == 255
    assert (np.diff(values.ravel().astype(int)) > 0).all()
    assert archive.image("p10/p10000032/s50000001/a2").size == (6, 4)  # the JPEG comes first


def test_pictures_that_cannot_be_read(mimic):
    archive = open_archive("mimic-cxr", mimic.root)
    with pytest.raises(UserError, match=r"p10000032/s50000001/zz.jpg' does not exist, nor does a .dcm"):
        archive.image("p10/p10000032/s50000001/zz")
    path = mimic.tables / "files" / "p10/p10000032/s50000001" / "a1.jpg"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"a1.jpg' cannot be read"):
        archive.image("p10/p10000032/s50000001/a1")
