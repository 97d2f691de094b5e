import json
import re
from collections import Counter

import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.archives.archive import Excluded, Loss, Record, open_archive
from medim.data.archives.r2gen import IU_TERMS, MIMIC_TERMS, R2Gen


def entry(identity, paths, **fields):
    return {"id": identity, "report": f"report of\n  {identity} .", "image_path": paths, **fields}


IU = {
    "train": [entry("CXR1_IM-0001", ["CXR1_IM-0001/0.png", "CXR1_IM-0001/1.png"], split="train")],
    "val": [entry("CXR2_IM-0002", ["CXR2_IM-0002/0.png"])],
    "test": [entry("3", ["CXR3_IM-0003-1001.png", "CXR3_IM-0003-2001.png"], split="test")],
}


def make(root, value, **options):
    root.mkdir(exist_ok=True)
    (root / "annotation.json").write_text(json.dumps(value))
    for split in value:
        for row in value[split]:
            paths = row.get("image_path") if isinstance(row, dict) else None
            for number, path in enumerate(paths if isinstance(paths, list) else []):
                if ".." not in path:
                    file = root / "images" / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.new("L", (4, 3), 40 * number).save(file)
    (root / "images").mkdir(exist_ok=True)
    return open_archive("r2gen", root, None, options)


def test_every_image_of_a_study_is_a_pair(tmp_path):
    archive = make(tmp_path, IU)
    assert isinstance(archive, R2Gen)
    records = list(archive.records())
    assert all(isinstance(record, Record) for record in records)
    assert [record.fields["id"] for record in records] == [
        "CXR1_IM-0001-0",
        "CXR1_IM-0001-1",
        "CXR2_IM-0002",
        "3-0",
        "3-1",
    ]
    assert [record.fields["split"] for record in records] == ["train", "train", "val", "test", "test"]
    assert [record.fields["patient"] for record in records] == ["CXR1", "CXR1", "CXR2", "CXR3", "CXR3"]
    assert records[0].fields == {
        "id": "CXR1_IM-0001-0",
        "report": "report of CXR1_IM-0001 .",
        "split": "train",
        "patient": "CXR1",
        "study": "CXR1_IM-0001",
        "domain": "chest-xray",
        "terms": IU_TERMS,
    }
    assert [archive.image(record.source).getpixel((0, 0))[0] for record in records] == [0, 40, 0, 0, 40]
    assert list(archive.records()) == records


def test_the_first_image_alone(tmp_path):
    entries = list(make(tmp_path, IU, study="first").records())
    assert [e.fields["id"] for e in entries if isinstance(e, Record)] == ["CXR1_IM-0001-0", "CXR2_IM-0002", "3-0"]
    assert [e for e in entries if not isinstance(e, Record)] == [Excluded("not the first image of its study")] * 2


def test_mimic_entries_bear_their_own_patients_and_terms(tmp_path):
    row = entry("ab-cd", ["p10/p10000032/s50414267/ab-cd.jpg"], subject_id=10000032, study_id=50414267, split="train")
    (record,) = make(tmp_path, {"train": [row]}).records()
    assert (record.fields["patient"], record.fields["study"]) == ("p10000032", "s50414267")
    assert record.fields["terms"] == MIMIC_TERMS
    without = {key: value for key, value in row.items() if key != "subject_id"}
    (record,) = make(tmp_path, {"train": [without]}).records()
    assert record.fields["terms"] == MIMIC_TERMS


def test_terms_are_given_or_not_stated(tmp_path):
    value = {"train": [entry("a", ["a.png"])]}
    (record,) = make(tmp_path, value).records()
    assert record.fields["terms"] == "not stated"
    (record,) = make(tmp_path, value, terms="CC0-1.0", domain="skin").records()
    assert (record.fields["terms"], record.fields["domain"]) == ("CC0-1.0", "skin")


def test_a_key_that_names_no_split_is_read_by_its_entries(tmp_path):
    value = {"train": [entry("a", ["a.png"])], "    ": [entry("b", ["b.png"], split="test")]}
    archive = make(tmp_path, value)
    assert [record.fields["split"] for record in archive.records()] == ["train", "test"]
    assert archive.facts()["keys"] == {"train": {"train": 1}, "    ": {"test": 1}}
    assert archive.facts()["keys_that_name_no_split"] == ["    "]


@pytest.mark.parametrize(("fields", "own"), [({}, "is missing"), ({"split": "tets"}, "is 'tets'")])
def test_neither_key_nor_field_tells_the_split(tmp_path, fields, own):
    archive = make(tmp_path, {"tst1": [entry("b", ["b.png"], **fields)]})
    says = rf"annotation\.json, 'tst1', entry 1: unknown split 'tst1'; did you mean 'test'.*field 'split' {own}"
    with pytest.raises(UserError, match=says):
        list(archive.records())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (entry("b", ["b.png"], split="test"), "stands under 'train' but its field 'split' is 'test'"),
        (entry("b", ["../secret.png"]), "image '../secret.png' leads outside"),
        (entry("b", ["/etc/secret.png"]), "image '/etc/secret.png' is an absolute path"),
        (entry("b", []), "field 'image_path' must be a list of paths"),
        ({"id": "b", "image_path": ["b.png"]}, "field 'report' is missing"),
        ({"id": "b", "image_path": ["b.png"], "report": " \n"}, "the report is empty"),
        ({"image_path": ["b.png"], "report": "x"}, "field 'id' is missing"),
        ("text", "an object is needed"),
    ],
)
def test_a_broken_entry_is_lost_and_the_rest_kept(tmp_path, row, reason):
    (tmp_path / "root").mkdir()
    entries = list(make(tmp_path / "root", {"train": [row, entry("c", ["c.png"])]}).records())
    assert isinstance(entries[0], Loss)
    assert reason in entries[0].reason
    assert entries[1].fields["id"] == "c"
    assert len(entries) == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": True}, "field 'id' is neither a text nor a whole number: True"),
        ({"id": 1.0}, "field 'id' is neither a text nor a whole number: 1.0"),
        ({"id": "  "}, "field 'id' is missing or empty"),
        ({"subject_id": 1.5}, "field 'subject_id' is neither a text nor a whole number: 1.5"),
        ({"study_id": [1]}, "field 'study_id' is neither a text nor a whole number: [1]"),
    ],
)
def test_a_key_of_another_type_is_a_loss(tmp_path, fields, reason):
    (loss,) = make(tmp_path, {"train": [entry("a", ["a.png"]) | fields]}).records()
    assert loss.reason == reason


def test_a_subject_of_number_0_is_one(tmp_path):
    (record,) = make(tmp_path, {"train": [entry(7, ["a.png"], subject_id=0, study_id=0)]}).records()
    assert [record.fields[name] for name in ("id", "patient", "study")] == ["7", "p0", "s0"]


def test_a_pattern_that_does_not_match_is_a_loss(tmp_path):
    value = {"train": [entry("pat7-x", ["a.png"]), entry("other", ["b.png"])]}
    record, loss = make(tmp_path, value, patient_from=r"pat(\d+)").records()
    assert record.fields["patient"] == "7"
    assert "does not match the id" in loss.reason


def test_repeated_ids_are_renamed_and_counted(tmp_path):
    archive = make(tmp_path, {"train": [entry("a", ["a.png"]), entry("a", ["b.png"])]})
    assert [record.fields["id"] for record in archive.records()] == ["a", "a-2"]
    assert archive.facts()["repeated_ids"] == 1


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"holds no annotation\*\.json: name the file with annotation="):
        open_archive("r2gen", tmp_path)
    (tmp_path / "annotation.json").write_text("[]")
    with pytest.raises(UserError, match=r"images' is no folder; name the folder of the images with images="):
        open_archive("r2gen", tmp_path)
    with pytest.raises(UserError, match=r"unknown option of r2gen 'anotation'; did you mean 'annotation'"):
        open_archive("r2gen", tmp_path, None, {"anotation": "x"})
    (tmp_path / "annotation.json").write_text('[{"id": "a"}]')
    with pytest.raises(UserError, match="holds one list"):
        list(open_archive("r2gen", tmp_path, None, {"images": "."}).records())


def test_a_missing_picture_is_one_clear_line(tmp_path):
    archive = make(tmp_path, IU)
    with pytest.raises(UserError, match=re.escape("none.png' does not exist")):
        archive.image("none.png")


@pytest.mark.parametrize("name", ["annotation_r2gen_mrg_rl.json", "annotation_r2gen_serpent.json"])
def test_the_real_files(shared_data, name):
    folder = shared_data / "text" / "iu_xray"
    if not (folder / name).is_file():
        pytest.skip(f"the real data has no {name}")
    truth = json.loads((folder / name).read_text())
    archive = open_archive("r2gen", folder, None, {"annotation": name, "images": "."})
    records = list(archive.records())
    expected = Counter()
    for key, rows in truth.items():
        for row in rows:
            expected[row.get("split") or key] += len(row["image_path"])
    assert Counter(record.fields["split"] for record in records) == expected
    flat = [(path, " ".join(row["report"].split())) for rows in truth.values() for row in rows for path in row["image_path"]]
    assert [(record.source, record.fields["report"]) for record in records] == flat
    assert len({record.fields["id"] for record in records}) == len(flat)
    assert len({record.fields["patient"] for record in records}) == sum(map(len, truth.values()))
    assert {record.fields["terms"] for record in records} == {IU_TERMS}
    assert archive.facts()["keys_that_name_no_split"] == [key for key in truth if not key.strip()]


@pytest.mark.parametrize("written", ["NaN", '"nan"', '"None"'])
def test_an_entry_without_a_number_is_lost_alone_and_named(tmp_path, written):
    (tmp_path / "images").mkdir()
    entries = [{"id": f"a{n}", "report": "clear .", "image_path": [f"{n}.png"], "age": "AGE"} for n in range(3)]
    text = json.dumps({"train": entries, "val": [], "test": []}).replace('"AGE"', "NaN").replace('"clear ."', written, 1)
    (tmp_path / "annotation.json").write_text(text)
    found = list(open_archive("r2gen", tmp_path).records())
    assert [entry.fields["id"] for entry in found if isinstance(entry, Record)] == ["a1", "a2"]
    (loss,) = [entry for entry in found if isinstance(entry, Loss)]
    word = written.strip('"')
    assert loss == Loss("annotation.json, 'train', entry 1 (a0)", f"the report is '{word}', which stands for missing text")
