"""MIMIC-CXR on a tree of its own layout: six patients, nine studies, thirteen images, made here."""

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from medim.data.archives.archive import Excluded, Loss, Record, open_archive
from medim.data.archives.mimic_cxr import MimicCxr
from medim.data.archives.mimic_tables import LABELS
from medim.data.folder import FolderDataset
from medim.errors import UserError

# image, study, subject, split, view; in the order of the split table
IMAGES = [
    ("a1", 50000001, 10000032, "train", "PA"),
    ("a2", 50000001, 10000032, "train", "LATERAL"),
    ("a3", 50000002, 10000032, "train", "AP"),
    ("b1", 50000003, 10000048, "train", "LATERAL"),
    ("b2", 50000003, 10000048, "train", "PA"),
    ("c1", 50000004, 11000011, "validate", "AP"),
    ("c2", 50000005, 11000011, "validate", ""),
    ("d1", 50000006, 11000022, "test", "PA"),
    ("e1", 50000007, 12000033, "test", "LL"),
    ("e2", 50000007, 12000033, "test", "AP"),
    ("f1", 50000008, 12000044, "train", "PA"),
    ("f2", 50000009, 12000044, "train", "AP"),
    ("f3", 50000009, 12000044, "train", "PA"),
]
REPORTS = {
    50000001: " FINAL REPORT\n EXAMINATION:  CHEST\n \n INDICATION:  ___ man.\n \n FINDINGS: \n \n Seen by Dr. ___, the lungs\n"
    " are clear.\n \n IMPRESSION: \n \n Normal.\n",
    50000002: " FINAL REPORT\n FINDINGS:  Small effusion.\n",
    50000003: " FINAL REPORT\n HISTORY:  Cough.\n\n IMPRESSION:  Pneumonia.\n",
    50000004: " FINAL REPORT\n FINDINGS/IMPRESSION:  Device in place.\n",
    50000005: " FINAL REPORT\n AP CHEST, ___\n\n As compared to the previous film, no change.\n",
    50000006: " FINAL REPORT\n INDICATION:  Cough.\n",
    50000007: " FINDINGS:  ___\n",
    50000009: "WET READ: Fine.\n______________\n FINAL REPORT\n LUNGS:  Clear.\n\n RECOMMENDATION(S):  None needed.\n",
}  # 50000008 has none
CHEXPERT = {
    50000001: {"No Finding": "1.0"},
    50000002: {"Pleural Effusion": "1.0", "Edema": "0.0", "Atelectasis": "-1.0"},
    50000003: {"Pneumonia": "1.0", "Support Devices": "1.0"},
}


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    text = "".join(",".join(map(str, row)) + "\n" for row in [header, *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def label_rows(table: dict[int, dict[str, str]]) -> list[list[object]]:
    return [[1, study, *(labels.get(name, "") for name in LABELS)] for study, labels in table.items()]


def folder_of(study: int, subject: int) -> str:
    return f"p{str(subject)[:2]}/p{subject}/s{study}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "physionet.org"
    jpg = root / "files" / "mimic-cxr-jpg" / "2.1.0"
    for image, study, subject, _, _ in IMAGES:
        path = jpg / "files" / folder_of(study, subject) / f"{image}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), ord(image[0])).save(path)
        if study in REPORTS:
            report = root / "files" / "mimic-cxr" / "2.1.0" / "files" / f"{folder_of(study, subject)}.txt"
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(REPORTS[study])
    write_csv(
        jpg / "mimic-cxr-2.0.0-split.csv.gz",
        ["dicom_id", "study_id", "subject_id", "split"],
        [list(row[:4]) for row in IMAGES],
    )
    write_csv(
        jpg / "mimic-cxr-2.0.0-metadata.csv.gz",
        ["dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "StudyDate"],
        [[image, subject, study, "CHEST (PA AND LAT)", view, 4, "21800506"] for image, study, subject, _, view in IMAGES],
    )
    write_csv(jpg / "mimic-cxr-2.0.0-chexpert.csv.gz", ["subject_id", "study_id", *LABELS], label_rows(CHEXPERT))
    return root


def tables(root: Path) -> Path:
    return root / "files" / "mimic-cxr-jpg" / "2.1.0"


def listed(
    root: Path, preset: str | None = None, **options: str
) -> tuple[dict[str, dict], list[Excluded], list[Loss], MimicCxr]:
    """(fields by id, excluded, losses, the archive) of an archive with these options."""
    archive = open_archive("mimic-cxr", root, preset, options)
    items = list(archive.records())
    assert isinstance(archive, MimicCxr)
    return (
        {item.fields["id"]: dict(item.fields) for item in items if isinstance(item, Record)},
        [item for item in items if isinstance(item, Excluded)],
        [item for item in items if isinstance(item, Loss)],
        archive,
    )


def test_the_papers_set(root):
    pairs, excluded, losses, archive = listed(root, "paper")
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


def test_asked_twice_the_same_comes_twice(root):
    archive = open_archive("mimic-cxr", root)
    first, facts = list(archive.records()), archive.facts()
    packed = pickle.dumps(archive)
    assert len(packed) < 4000
    again = pickle.loads(packed)
    assert list(again.records()) == first
    assert again.facts() == facts
    json.dumps([item.fields for item in first if isinstance(item, Record)] + [facts])


@pytest.mark.parametrize(
    ("section", "ids", "reports"),
    [
        ("findings", "a1 a2 a3 c1 e1 e2", {"a3": "Small effusion.", "c1": "Device in place."}),
        ("impression", "a1 a2 b1 b2 c1", {"a1": "Normal.", "c1": "Device in place."}),
        ("report", "a1 a2 a3 b1 b2 c1 c2 d1 e1 e2 f2 f3", {
            "b1": "HISTORY: Cough.\nIMPRESSION: Pneumonia.",
            "f2": "LUNGS: Clear.\nRECOMMENDATION(S): None needed.",
        }),
    ],
)  # fmt: skip
def test_sections(root, section, ids, reports):
    pairs, excluded, _, _ = listed(root, section=section)
    assert " ".join(pairs) == ids
    assert {name: pairs[name]["report"] for name in reports} == reports
    assert len(pairs) + len(excluded) == 12
    assert {item.reason for item in excluded} == ({f"no {section} section"} if section != "report" else set())


def test_without_the_fallback(root):
    pairs, excluded, _, _ = listed(root, fallback="false")
    assert " ".join(pairs) == "a1 a2 a3 b1 b2 c1 e1 e2"
    assert len(excluded) == 4


@pytest.mark.parametrize(
    ("policy", "report", "indication"),
    [
        ("keep", "Seen by Dr. ___, the lungs are clear.\nNormal.", "___ man."),
        ("drop", "Seen by Dr., the lungs are clear.\nNormal.", "man."),
        ("mask", "Seen by Dr. [deid], the lungs are clear.\nNormal.", "[deid] man."),
    ],
)
def test_one_policy_for_the_marks_of_deidentification(root, policy, report, indication):
    pairs, excluded, _, _ = listed(root, underscores=policy)
    assert pairs["a1"]["report"] == report
    assert pairs["a1"]["sections"]["indication"] == indication
    only_marks = [item for item in excluded if item.reason == "nothing but de-identification marks"]
    assert ("e1" in pairs, len(only_marks)) == ((False, 2) if policy == "drop" else (True, 0))


@pytest.mark.parametrize(
    ("views", "ids"),
    [
        ("frontal", "a1 a3 b2 c1 e2 f2 f3"),
        ("lateral, LL", "a2 b1 e1"),
        ("PA", "a1 b2 f3"),
        ("all", "a1 a2 a3 b1 b2 c1 c2 e1 e2 f2 f3"),
    ],
)
def test_views(root, views, ids):
    pairs, excluded, _, archive = listed(root, views=views)
    assert " ".join(pairs) == ids
    if views == "frontal":
        assert sorted({item.reason for item in excluded if "view" in item.reason}) == [
            "view LATERAL", "view LL", "view not stated",
        ]  # fmt: skip
        assert archive.facts()["expected"] is None


def test_one_image_a_study(root):
    assert " ".join(listed(root, study="first")[0]) == "a1 a3 b1 c1 c2 e1 f2"
    assert " ".join(listed(root, study="first", views="frontal")[0]) == "a1 a3 b2 c1 e2 f2"


def test_folders_of_patients(root):
    pairs, excluded, losses, _ = listed(root, folders="p10, p11")
    assert " ".join(pairs) == "a1 a2 a3 b1 b2 c1 c2"
    assert [item.reason for item in excluded].count("folder not asked for") == 5
    assert losses == []
    with pytest.raises(UserError, match="'p1' is neither all nor names like p10,p11"):
        open_archive("mimic-cxr", root, None, {"folders": "p1"})


@pytest.mark.parametrize(
    ("policy", "findings", "absent"),
    [
        ("positive", ["atelectasis", "pleural effusion"], ["edema"]),
        ("negative", ["pleural effusion"], ["atelectasis", "edema"]),
        ("omit", ["pleural effusion"], ["edema"]),
    ],
)
def test_uncertain_labels(root, policy, findings, absent):
    pair = listed(root, uncertain=policy)[0]["a3"]
    assert pair["findings"] == findings
    assert pair["absent_findings"] == absent
    assert pair["labels"]["atelectasis"] == -1.0
    assert pair["labels"]["fracture"] is None


def test_tables_of_labels(root):
    pairs, _, _, archive = listed(root, labels="none")
    assert "findings" not in pairs["a1"]
    assert archive.facts()["tables"]["labels"] is None
    negbio = label_rows({50000001: {"Edema": "1"}})
    write_csv(tables(root) / "mimic-cxr-2.1.0-negbio.csv", ["subject_id", "study_id", *LABELS], negbio)
    pairs = listed(root, labels="negbio")[0]
    assert pairs["a1"]["findings"] == ["edema"]
    assert "findings" not in pairs["a3"]
    (tables(root) / "mimic-cxr-2.0.0-chexpert.csv.gz").unlink()
    assert "findings" not in listed(root)[0]["a1"]
    with pytest.raises(UserError, match=r"labels=chexpert needs a table mimic-cxr\*-chexpert.csv"):
        open_archive("mimic-cxr", root, None, {"labels": "chexpert"})


def annotation(tmp_path: Path, content: object) -> str:
    path = tmp_path / "annotation.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def entry(image: str, **fields: object) -> dict[str, object]:
    return {"id": image, "study_id": 1, "report": "x", "image_path": [f"p10/p10000032/s1/{image}.jpg"], **fields}


def test_the_split_of_r2gen(root, tmp_path):
    path = annotation(
        tmp_path,
        {
            "train": [entry("a3"), entry("c1"), entry("other", image_path=["x/e2.jpg", "x/e1.jpg"])],
            "val": [entry("a1")],
            "test": [{"id": "d1"}, entry("gone")],
        },
    )
    pairs, excluded, losses, archive = listed(root, "r2gen", annotation=path)
    assert {name: pair["split"] for name, pair in pairs.items()} == {"a1": "val", "a3": "train", "c1": "train", "e2": "train"}
    assert pairs["a1"]["report"] == "Seen by Dr. ___, the lungs are clear."
    assert [item.reason for item in excluded].count("not in the annotation") == 8
    assert [item.reason for item in excluded].count("no findings section") == 1
    assert [item.item for item in losses] == ["gone"]
    assert "annotation.json, but not in" in losses[0].reason
    facts = archive.facts()
    assert facts["expected"] == {"train": 270_790, "val": 2_130, "test": 3_858}
    assert facts["listed"] == {"train": 3, "val": 1, "test": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"train": [{"id": "a1"}', "broken JSON after 1 entries"),
        ({"train": [], "tests": [entry("a1")]}, "unknown split 'tests'; did you mean 'test'"),
        ({"train": [{"report": "x"}]}, "entry 1, in 'train', has neither 'image_path' nor 'id'"),
        ({"train": [entry("a1")], "test": [entry("a1")]}, "image 'a1' stands in train and in test"),
        ({"train": []}, "no entries"),
        ([], "no entries"),
        ({"train": [entry("zz")]}, "none of its images is in"),
    ],
)
def test_annotations_that_cannot_be_used(root, tmp_path, content, message):
    path = annotation(tmp_path, content)
    with pytest.raises(UserError, match=message) as error:
        listed(root, "r2gen", annotation=path)
    assert path in str(error.value)


def test_r2gen_needs_its_annotation(root, tmp_path):
    with pytest.raises(UserError, match="split=r2gen needs annotation=FILE"):
        open_archive("mimic-cxr", root, "r2gen")
    with pytest.raises(UserError, match=r"option 'annotation': file '.*nowhere.json' does not exist"):
        listed(root, "r2gen", annotation=str(tmp_path / "nowhere.json"))


def test_exceptions(root, tmp_path):
    text = REPORTS[50000005]
    start = text.index("As compared")
    path = write_csv(
        tmp_path / "exceptions.csv",
        ["study", "section", "start", "end"],
        [
            ["s50000009", "Recommendation", "", ""],
            ["50000005", "findings", start, start + 11],
            ["50000006", "impression", "", ""],
            ["50000099", "report", "", ""],
        ],
    )
    pairs, _, losses, archive = listed(root, exceptions=str(path))
    assert pairs["f2"]["report"] == pairs["f3"]["report"] == "None needed."
    assert pairs["c2"]["report"] == pairs["c2"]["sections"]["findings"] == "As compared"
    assert pairs["c2"]["parsed_by"] == "exception"
    assert [item.item for item in losses] == ["d1", "f1"]
    assert "takes 'impression', which" in losses[0].reason
    facts = archive.facts()["reports"]
    assert facts["by"] == {"heading": 5, "last paragraph": 0, "none": 0, "exception": 3}
    assert facts["exceptions_unused"] == ["s50000099"]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (["study_id", "section"], ["1", "findings"], "column 'study' is missing; the columns are: study_id, section"),
        (["study", "section"], ["one", "findings"], "exceptions.csv:2: column 'study': 'one' is not a number"),
        (["study", "section"], ["1", ""], "exceptions.csv:2: column 'section' is empty"),
        (["study", "section", "start", "end"], ["1", "findings", "9", "3"], r"'end' \(3\) is not after 'start' \(9\)"),
        (["study", "section", "start", "end"], ["1", "findings", "9", ""], "column 'end': '' is not a number"),
    ],
)
def test_exceptions_that_cannot_be_used(root, tmp_path, header, row, message):
    path = write_csv(tmp_path / "exceptions.csv", header, [row])
    with pytest.raises(UserError, match=message):
        listed(root, exceptions=str(path))


def test_reports_elsewhere(root, tmp_path):
    (root / "files" / "mimic-cxr").rename(tmp_path / "reports")
    with pytest.raises(UserError, match=r"no reports \(files/p10/.*reports=DIR"):
        open_archive("mimic-cxr", root)
    assert len(listed(root, reports=str(tmp_path / "reports"))[0]) == 11
    with pytest.raises(UserError, match=r"option 'reports': folder '.*nothing' does not exist"):
        open_archive("mimic-cxr", root, None, {"reports": str(tmp_path / "nothing")})
    (root / "mimic-cxr-reports.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"unpack '.*mimic-cxr-reports.zip'"):
        open_archive("mimic-cxr", root)


def test_everything_in_one_folder(root, tmp_path):
    """JPEGs, reports and tables side by side, as some unpack them."""
    flat = tmp_path / "flat"
    (tables(root) / "files").rename(flat)
    for report in (root / "files" / "mimic-cxr" / "2.1.0" / "files").glob("p*/p*/s*.txt"):
        report.rename(flat / report.parent.parent.name / report.parent.name / report.name)
    for table in tables(root).glob("*.csv.gz"):
        (flat / table.name).with_suffix("").write_bytes(gzip.decompress(table.read_bytes()))
    assert len(listed(flat, "paper")[0]) == 11


def test_reports_that_cannot_be_read_are_losses_of_each_image(root):
    reports = root / "files" / "mimic-cxr" / "2.1.0" / "files"
    (reports / "p10/p10000032/s50000001.txt").write_bytes(b"FINDINGS: \xff.")
    (reports / "p10/p10000032/s50000002.txt").write_text(" \n")
    _, _, losses, _ = listed(root)
    assert [(loss.item, loss.reason.split("'")[2][:20]) for loss in losses] == [
        ("a1", " cannot be read: 'ut"[:17]), ("a2", " cannot be read: "), ("a3", " is empty"), ("f1", " does not exist"),
    ]  # fmt: skip


def test_tables_that_are_missing(root):
    (tables(root) / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    pairs = listed(root)[0]
    assert len(pairs) == 11
    assert "view" not in pairs["a1"]
    with pytest.raises(UserError, match=r"views=frontal needs a table mimic-cxr\*-metadata.csv"):
        open_archive("mimic-cxr", root, None, {"views": "frontal"})
    (tables(root) / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    with pytest.raises(UserError, match=r"no table mimic-cxr\*-split.csv\(.gz\) under"):
        open_archive("mimic-cxr", root)


def test_two_versions_of_a_table(root):
    (root / "mimic-cxr-2.1.0-split.csv").write_text("")
    with pytest.raises(
        UserError, match=r"two split tables: .*2\.0\.0.* and .*2\.1\.0|two split tables: .*2\.1\.0.* and .*2\.0\.0"
    ):
        open_archive("mimic-cxr", root)


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("split", b"study_id", b"study", "column 'study_id' is missing; the columns are: study, subject_id, dicom_id, split"),
        ("metadata", b"ViewPosition", b"Position", "column 'ViewPosition' is missing; the columns are: Position"),
        ("chexpert", b"Edema", b"Oedema", "column 'Edema' is missing; the columns are: Oedema"),
        ("split", b"validate", b"valid8", ":7: unknown split 'valid8'; did you mean 'validate'"),
        ("split", b"a3,50000002", b"a3,five", ":4: column 'study_id': 'five' is not a number"),
        ("split", b"a3,", b"../a3,", ":4: column 'dicom_id': '../a3' is no id of an image"),
        (
            "split",
            b"a3,50000002,10000032,train",
            b"a3,50000002",
            ":4: the row ends before column 'subject_id'; is the file cut",
        ),
        ("chexpert", b"-1.0", b"2.0", ":3: column 'Atelectasis': '2.0' is not 1.0, 0.0, -1.0 or empty"),
        ("split", b"a1", b"\xff\xfe", "cannot be read beyond line"),
    ],
)
def test_tables_that_are_wrong(root, table, old, new, message):
    path = tables(root) / f"mimic-cxr-2.0.0-{table}.csv.gz"
    content = gzip.decompress(path.read_bytes())
    assert old in content
    path.write_bytes(gzip.compress(content.replace(old, new, 1)))
    with pytest.raises(UserError, match=message) as error:
        listed(root)
    assert path.name in str(error.value)


def test_tables_that_are_cut(root):
    path = tables(root) / "mimic-cxr-2.0.0-split.csv.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="cannot be read beyond line"):
        listed(root)
    path.write_bytes(b"no gzip")
    with pytest.raises(UserError, match="cannot be read beyond line 0: Not a gzipped file"):
        listed(root)


def test_roots_that_are_none(tmp_path, root):
    with pytest.raises(UserError, match="does not exist"):
        open_archive("mimic-cxr", tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no folder of patients"):
        open_archive("mimic-cxr", tmp_path / "physionet.org" / "files" / "mimic-cxr-jpg" / "2.1.0" / "files" / "p10")
    with pytest.raises(UserError, match="is no folder"):
        open_archive("mimic-cxr", tables(root) / "mimic-cxr-2.0.0-split.csv.gz")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("view", "all", "unknown option of mimic-cxr 'view'; did you mean 'views'"),
        ("section", "conclusion", "option 'section'"),
        ("underscores", "remove", "option 'underscores'"),
        ("views", "PA,LATRAL", "unknown view 'LATRAL'; did you mean 'LATERAL'"),
    ],
)
def test_options_that_are_wrong(root, key, value, message):
    with pytest.raises(UserError, match=message):
        listed(root, **{key: value})


def test_images_that_the_metadata_lacks(root):
    path = tables(root) / "mimic-cxr-2.0.0-metadata.csv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"a3,", b"zz,", 1)))
    pairs, _, losses, _ = listed(root, views="frontal")
    assert "a3" not in pairs
    assert losses[0].item == "a3"
    assert "so its view is not known" in losses[0].reason
    assert "a3" in listed(root)[0]


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


def test_prepared(root, tmp_path):
    """By the command: a report and a picture are missing, the rest is a data set."""
    (tables(root) / "files" / "p10/p10000032/s50000002/a3.jpg").unlink()
    out = tmp_path / "out"
    arguments = ["data", "prepare", "mimic-cxr", "--root", str(root), "--out", str(out), "--preset", "paper"]
    result = CliRunner().invoke(main, [*arguments, "--set", "underscores=mask", "--workers", "0"])
    assert result.exit_code == 3, result.output
    dataset = FolderDataset(out)
    assert {split: dataset.size(split) for split in ("train", "val", "test")} == {"train": 6, "val": 2, "test": 2}
    assert dataset.terms == MimicCxr.terms
    pair = dataset.pair("train", 0)
    assert (pair.id, pair.findings, pair.view) == ("a1", (), "PA")
    assert pair.report == "Seen by Dr. [deid], the lungs are clear.\nNormal."
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert len(failures) == 2
    assert any("a3.jpg' does not exist" in str(failure) for failure in failures)
    assert any("s50000008.txt' does not exist" in str(failure) for failure in failures)
    assert '"expected"' in (out / "manifest.json").read_text()


def test_pictures(root):
    archive = open_archive("mimic-cxr", root)
    source = next(item.source for item in archive.records() if isinstance(item, Record))
    assert source == "p10/p10000032/s50000001/a1"
    image = archive.image(source)
    assert image.size == (6, 4)
    assert abs(image.convert("L").getpixel((2, 2)) - ord("a")) <= 1


def test_dicom_pictures_where_there_is_no_jpeg(root):
    jpg = tables(root) / "files" / "p10/p10000032/s50000001"
    dicom = root / "files" / "mimic-cxr" / "2.1.0" / "files" / "p10/p10000032/s50000001"
    dicom.mkdir()
    ramp = np.arange(20).reshape(4, 5) * 200
    for name in ("a1", "a2"):
        write_dicom(dicom / f"{name}.dcm", ramp)
    (jpg / "a1.jpg").unlink()
    archive = open_archive("mimic-cxr", root)
    image = archive.image("p10/p10000032/s50000001/a1")
    assert image.size == (5, 4)
    values = np.asarray(image.convert("L"))
    assert values[0, 0] == 0
    assert values[3, 4] == 255
    assert (np.diff(values.ravel().astype(int)) > 0).all()
    assert archive.image("p10/p10000032/s50000001/a2").size == (6, 4)  # the JPEG comes first


def test_pictures_that_cannot_be_read(root):
    archive = open_archive("mimic-cxr", root)
    with pytest.raises(UserError, match=r"p10000032/s50000001/zz.jpg' does not exist, nor does a .dcm"):
        archive.image("p10/p10000032/s50000001/zz")
    path = tables(root) / "files" / "p10/p10000032/s50000001" / "a1.jpg"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"a1.jpg' cannot be read"):
        archive.image("p10/p10000032/s50000001/a1")
