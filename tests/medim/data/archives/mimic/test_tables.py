"""The tables of MIMIC-CXR: splits, views, labels, and what is wrong with them."""

import gzip
import json
from pathlib import Path

import pytest

from medim.common.errors import UserError
from medim.data.archives.archive import open_archive
from medim.data.archives.mimic.tables import LABELS


@pytest.mark.parametrize(
    ("policy", "findings", "absent"),
    [
        ("positive", ["atelectasis", "pleural effusion"], ["edema"]),
        ("negative", ["pleural effusion"], ["atelectasis", "edema"]),
        ("omit", ["pleural effusion"], ["edema"]),
    ],
)
def test_uncertain_labels(mimic, policy, findings, absent):
    pair = mimic.listed(uncertain=policy)[0]["a3"]
    assert pair["findings"] == findings
    assert pair["absent_findings"] == absent
    assert pair["labels"]["atelectasis"] == -1.0
    assert pair["labels"]["fracture"] is None


def test_tables_of_labels(mimic):
    pairs, _, _, archive = mimic.listed(labels="none")
    assert "findings" not in pairs["a1"]
    assert archive.facts()["tables"]["labels"] is None
    negbio = mimic.label_rows({50000001: {"Edema": "1"}})
    mimic.write_csv(mimic.tables / "mimic-cxr-2.1.0-negbio.csv", ["subject_id", "study_id", *LABELS], negbio)
    pairs = mimic.listed(labels="negbio")[0]
    assert pairs["a1"]["findings"] == ["edema"]
    assert "findings" not in pairs["a3"]
    (mimic.tables / "mimic-cxr-2.0.0-chexpert.csv.gz").unlink()
    assert "findings" not in mimic.listed()[0]["a1"]
    with pytest.raises(UserError, match=r"labels=chexpert needs a table mimic-cxr\*-chexpert.csv"):
        open_archive("mimic-cxr", mimic.root, None, {"labels": "chexpert"})


def annotation(tmp_path: Path, content: object) -> str:
    path = tmp_path / "annotation.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def entry(image: str, **fields: object) -> dict[str, object]:
    return {"id": image, "study_id": 1, "report": "x", "image_path": [f"p10/p10000032/s1/{image}.jpg"], **fields}


def test_the_split_of_r2gen(mimic, tmp_path):
    path = annotation(
        tmp_path,
        {
            "train": [entry("a3"), entry("c1"), entry("other", image_path=["x/e2.jpg", "x/e1.jpg"])],
            "val": [entry("a1")],
            "test": [{"id": "d1"}, entry("gone")],
        },
    )
    pairs, excluded, losses, archive = mimic.listed("r2gen", annotation=path)
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
        ('{"train": [{"id": "a1"}', "broken JSON after entry 1 of 'train'"),
        ({"train": [], "tests": [entry("a1")]}, "unknown split 'tests'; did you mean 'test'"),
        ({"train": [{"report": "x"}]}, "entry 1, in 'train', has neither 'image_path' nor 'id'"),
        ({"train": [entry("a1")], "test": [entry("a1")]}, "image 'a1' stands in train and in test"),
        ({"train": []}, "no entries"),
        ([], "no entries"),
        ({"train": [entry("zz")]}, "none of its images is in"),
    ],
)
def test_annotations_that_cannot_be_used(mimic, tmp_path, content, message):
    path = annotation(tmp_path, content)
    with pytest.raises(UserError, match=message) as error:
        mimic.listed("r2gen", annotation=path)
    assert path in str(error.value)


def test_r2gen_needs_its_annotation(mimic, tmp_path):
    with pytest.raises(UserError, match="split=r2gen needs annotation=FILE"):
        open_archive("mimic-cxr", mimic.root, "r2gen")
    with pytest.raises(UserError, match=r"option 'annotation': file '.*nowhere.json' does not exist"):
        mimic.listed("r2gen", annotation=str(tmp_path / "nowhere.json"))


def test_tables_that_are_missing(mimic):
    (mimic.tables / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    pairs = mimic.listed()[0]
    assert len(pairs) == 11
    assert "view" not in pairs["a1"]
    with pytest.raises(UserError, match=r"views=frontal needs a table mimic-cxr\*-metadata.csv"):
        open_archive("mimic-cxr", mimic.root, None, {"views": "frontal"})
    (mimic.tables / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    with pytest.raises(UserError, match=r"no table mimic-cxr\*-split.csv\(.gz\) under"):
        open_archive("mimic-cxr", mimic.root)


def test_two_versions_of_a_table(mimic):
    (mimic.root / "mimic-cxr-2.1.0-split.csv").write_text("")
    with pytest.raises(
        UserError, match=r"two split tables: .*2\.0\.0.* and .*2\.1\.0|two split tables: .*2\.1\.0.* and .*2\.0\.0"
    ):
        open_archive("mimic-cxr", mimic.root)


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
        ("split", b"a1", b"\xff\xfe", ":2: column 'dicom_id' is not UTF-8 .byte 0xFF.; save the file as UTF-8"),
    ],
)
def test_tables_that_are_wrong(mimic, table, old, new, message):
    path = mimic.tables / f"mimic-cxr-2.0.0-{table}.csv.gz"
    content = gzip.decompress(path.read_bytes())
    assert old in content
    path.write_bytes(gzip.compress(content.replace(old, new, 1)))
    with pytest.raises(UserError, match=message) as error:
        mimic.listed()
    assert path.name in str(error.value)


def test_tables_that_are_cut(mimic):
    path = mimic.tables / "mimic-cxr-2.0.0-split.csv.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="cannot be read beyond line"):
        mimic.listed()
    path.write_bytes(b"no gzip")
    with pytest.raises(UserError, match="cannot be read beyond line 0: Not a gzipped file"):
        mimic.listed()


def test_images_that_the_metadata_lacks(mimic):
    path = mimic.tables / "mimic-cxr-2.0.0-metadata.csv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"a3,", b"zz,", 1)))
    pairs, _, losses, _ = mimic.listed(views="frontal")
    assert "a3" not in pairs
    assert losses[0].item == "a3"
    assert "so its view is not known" in losses[0].reason
    assert "a3" in mimic.listed()[0]
