import json

import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.archives.archive import Excluded, Loss, Record, open_archive
from medim.data.archives.files import Files
from medim.data.archives.preparation.prepare import Preparation
from medim.data.sources.folder import FolderDataset
from medim.data.splits import assign


def put(root, *names, text="report of {}"):
    """A picture with a text beside it for each name."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 4), 10 * (number + 1)).save(root / f"{name}.png")
        (root / f"{name}.txt").write_text(text.format(name))
    return root


def pairs(archive):
    return [entry for entry in archive.records() if isinstance(entry, Record)]


# ---- pictures with texts beside them ---------------------------------------------------------------------------------------


def test_a_flat_folder_as_the_authors_code_reads(tmp_path):
    put(tmp_path, "b", "a.v2", "c", text=" Lungs\n\n clear: {} ")
    archive = open_archive("folder", tmp_path)
    assert isinstance(archive, Files)
    records = list(archive.records())
    assert [record.fields["id"] for record in records] == ["a.v2", "b", "c"]
    assert records[0].fields == {
        "id": "a.v2",
        "report": "Lungs clear: a.v2",
        "split": assign("a.v2", {"val": 0.1, "test": 0.1}, 0),
        "patient": "a.v2",
        "study": "a.v2",
        "domain": "not stated",
        "terms": "not stated",
    }
    assert [archive.image(record.source).getpixel((0, 0)) for record in records] == [(20,) * 3, (10,) * 3, (30,) * 3]
    assert archive.facts() == {
        "layout": "texts",
        "split": {"by": "patient", "val": 0.1, "test": 0.1, "seed": 0},
        "pairs_without_terms": 3,
    }


def test_folders_named_after_splits_are_the_splits(tmp_path):
    put(tmp_path, "train/1", "train/deep/2", "Validation/1", "test/1")
    archive = open_archive("folder", tmp_path, None, {"terms": "CC0-1.0", "domain": "chest-xray"})
    records = pairs(archive)
    assert {record.fields["id"]: record.fields["split"] for record in records} == {
        "train/1": "train",
        "train/deep/2": "train",
        "Validation/1": "val",
        "test/1": "test",
    }
    assert len({record.fields["patient"] for record in records}) == 4
    assert {(record.fields["terms"], record.fields["domain"]) for record in records} == {("CC0-1.0", "chest-xray")}
    assert archive.facts() == {"layout": "texts", "split": "source", "pairs_without_terms": 0}
    drawn = pairs(open_archive("folder", tmp_path, None, {"split": "drawn", "test": "1", "val": "0"}))
    assert {record.fields["split"] for record in drawn} == {"test"}


def test_outside_the_folders_of_splits_is_a_loss(tmp_path):
    put(tmp_path, "train/1", "stray", "other/2")
    losses = [entry for entry in open_archive("folder", tmp_path).records() if isinstance(entry, Loss)]
    assert losses == [Loss(name, "lies outside the folders train, val and test") for name in ("stray.png", "other/2.png")]


def test_half_a_pair_is_a_loss_and_other_files_are_counted(tmp_path):
    put(tmp_path, "a", "b", "c", "d")
    (tmp_path / "a.txt").unlink()
    (tmp_path / "b.png").unlink()
    (tmp_path / "c.txt").write_text(" \n")
    (tmp_path / "d.txt").write_bytes(b"ab\xff")
    (tmp_path / "table.csv").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    (tmp_path / "__init__").mkdir()
    entries = list(open_archive("folder", tmp_path).records())
    assert [(entry.item, entry.reason) for entry in entries if isinstance(entry, Loss)] == [
        ("a.png", "no 'a.txt' beside it"),
        ("c.png", "the report is empty"),
        ("d.txt", "not UTF-8: byte 3; save the file as UTF-8"),
        ("b.txt", "no picture 'b.*' beside it (.png, .jpg, .jpeg, .tif, .tiff, .bmp, .webp, .gif, .dcm)"),
    ]
    assert [entry for entry in entries if isinstance(entry, Excluded)] == [Excluded("a file of another kind ('.csv')")]
    assert len(entries) == 5


def test_a_name_that_no_text_can_hold_is_a_loss(tmp_path):
    put(tmp_path, "a")
    try:
        (tmp_path / "c\udcff.png").write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no name that is not UTF-8")
    record, loss = open_archive("folder", tmp_path).records()
    assert record.fields["id"] == "a"
    assert loss == Loss(r"'c\udcff.png'", "the file's name is not UTF-8")


def test_two_pictures_may_share_a_text(tmp_path):
    put(tmp_path, "a")
    Image.new("L", (5, 4), 99).save(tmp_path / "a.JPG")
    upper, lower = open_archive("folder", tmp_path).records()
    assert (upper.fields["id"], lower.fields["id"]) == ("a", "a-2")
    assert upper.fields["study"] == lower.fields["study"] == "a"
    assert (upper.source, lower.source) == ("a.JPG", "a.png")


@pytest.mark.parametrize(
    ("pattern", "patients"),
    [(r"^([^_]+)_", ["p1", "p1", "p2"]), (r"^([^/]+)/", ["x", "x", "y"]), ("", ["x/p1_1", "x/p1_2", "y/p2_1"])],
)
def test_the_patient_is_read_from_the_name_or_the_path(tmp_path, pattern, patients):
    put(tmp_path, "x/p1_1", "x/p1_2", "y/p2_1")
    records = pairs(open_archive("folder", tmp_path, None, {"patient_from": pattern, "val": "0.3", "test": "0.3"}))
    assert [record.fields["patient"] for record in records] == patients
    assert [record.fields["split"] for record in records] == [assign(p, {"val": 0.3, "test": 0.3}, 0) for p in patients]


def test_a_name_without_the_patient_is_a_loss(tmp_path):
    put(tmp_path, "p1_1", "stray")
    entries = list(open_archive("folder", tmp_path, None, {"patient_from": r"^p(\d+)_"}).records())
    assert [type(entry) for entry in entries] == [Record, Loss]
    assert entries[1] == Loss("stray.png", r"patient_from '^p(\d+)_' does not match 'stray.png'")


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path / "elsewhere", "a")
    put(tmp_path / "root", "b")
    (tmp_path / "root" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "root")
    entries = list(open_archive("folder", tmp_path / "root").records())
    assert [entry.fields["id"] for entry in entries if isinstance(entry, Record)] == ["train/a"]
    assert [entry.item for entry in entries if isinstance(entry, Loss)] == ["b.png"]


# ---- pairs.jsonl -----------------------------------------------------------------------------------------------------------

ROWS = [
    {
        "id": "1",
        "image": "images/a.png",
        "report": "Line one.\n Line two.",
        "split": "train",
        "patient": "p1",
        "study": "s1",
        "domain": "chest-xray",
        "terms": "CC0-1.0",
        "findings": ["effusion"],
        "view": "PA",
        "sections": {"findings": "x"},
        "own": 3,
    },
    {"id": "2", "image": "images/b.png", "report": "Two.", "split": "validation", "findings": None},
    {"id": "3", "image": "images/c.png", "report": "Three.", "split": "test", "study": "s3"},
]


def write_pairs(root, rows=ROWS):
    put(root, "images/a", "images/b", "images/c")
    for name in "abc":
        (root / "images" / f"{name}.txt").unlink()
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (root / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("root_is_file", [False, True])
def test_pairs_keep_all_that_they_state(tmp_path, root_is_file):
    root = write_pairs(tmp_path)
    archive = open_archive("folder", root / "pairs.jsonl" if root_is_file else root, None, {"terms": "mine", "domain": "skin"})
    first, second, third = archive.records()
    assert first.fields == {key: value for key, value in ROWS[0].items() if key != "image"}
    assert second.fields == {
        "id": "2",
        "report": "Two.",
        "split": "val",
        "patient": "2",
        "study": "2",
        "domain": "skin",
        "terms": "mine",
        "findings": None,
    }
    assert (third.fields["patient"], third.fields["study"]) == ("s3", "s3")
    assert archive.image(second.source).getpixel((0, 0)) == (20, 20, 20)
    assert archive.facts() == {"layout": "pairs", "split": "source", "pairs_without_terms": 0}


def test_pairs_may_be_split_anew_by_patient(tmp_path):
    root = write_pairs(tmp_path, [{**ROWS[0], "id": str(n), "patient": f"p{n // 2}"} for n in range(60)])
    records = pairs(open_archive("folder", root, None, {"split": "drawn", "val": "0.3", "test": "0.3", "seed": "4"}))
    assert [r.fields["split"] for r in records] == [assign(f"p{n // 2}", {"val": 0.3, "test": 0.3}, 4) for n in range(60)]
    assert {record.fields["split"] for record in records} == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROWS[1], "image": "../b.png"}, "image '../b.png' leads outside"),
        ({**ROWS[1], "findings": "effusion"}, "field 'findings' must be a list of strings"),
        ({**ROWS[1], "sections": {"findings": 3}}, "field 'sections' must map names to strings"),
        ({**ROWS[1], "patient": 3}, "field 'patient' must be a string"),
        ({**ROWS[1], "split": "tset"}, "unknown split 'tset'; did you mean 'test'?"),
        ({**ROWS[1], "report": None}, "field 'report' must be a string, not null"),
        ({"id": "2", "image": "images/b.png", "reports": "x", "split": "val"}, "did you mean it by 'reports'?"),
        ({"id": "2", "image": "images/b.png", "report": "x"}, "field 'split' is missing"),
        ("[1]", "a JSON object is needed"),
        ('{"id": ', "broken JSON"),
    ],
)
def test_a_broken_line_is_lost_and_the_rest_kept(tmp_path, row, reason):
    first, loss, last = open_archive("folder", write_pairs(tmp_path, [ROWS[0], row, ROWS[2]])).records()
    assert (first.fields["id"], last.fields["id"]) == ("1", "3")
    assert isinstance(loss, Loss)
    assert loss.item == "pairs.jsonl:2"
    assert reason in loss.reason


def test_what_is_missing_is_named(tmp_path):
    put(tmp_path, "a")
    with pytest.raises(UserError, match=r"pairs\.jsonl' does not exist"):
        open_archive("folder", tmp_path, None, {"layout": "pairs"})
    with pytest.raises(UserError, match="has no folders train, val and test; split=drawn draws them"):
        open_archive("folder", tmp_path, None, {"split": "source"})
    with pytest.raises(UserError, match="is a file; layout=texts needs a folder"):
        open_archive("folder", tmp_path / "a.txt", None, {"layout": "texts"})
    with pytest.raises(UserError, match="option 'patient_from': Value error, '.+' has no group"):  # noqa: RUF043
        open_archive("folder", tmp_path, None, {"patient_from": "^p"})


def test_a_real_folder_made_again_holds_the_same_pairs(shared_data, tmp_path):
    source = FolderDataset(shared_data / "cxr")
    archive = open_archive("folder", shared_data / "cxr")
    records = list(archive.records())
    assert all(isinstance(record, Record) for record in records)
    of_split = {split: [source.pair(split, n) for n in range(source.size(split))] for split in ("train", "val", "test")}
    for split, expected in of_split.items():
        found = [record.fields for record in records if record.fields["split"] == split]
        assert [(f["id"], f["report"], f["patient"], f["study"], f["terms"]) for f in found] == [
            (pair.id, pair.report, pair.patient, pair.study, pair.terms) for pair in expected
        ]
    preparation = Preparation(archive, tmp_path / "out", limit=6)
    with preparation.claimed():
        prepared = preparation.make(preparation.plan())
    assert prepared.failures == 0
    again = FolderDataset(tmp_path / "out")
    ids = [again.pair(split, n).id for split in prepared.splits for n in range(again.size(split))]
    assert sorted(ids) == sorted(record.fields["id"] for record in records[:6])


def test_texts_that_stand_for_none_and_other_encodings(tmp_path):
    put(tmp_path, "a", "b", "c")
    (tmp_path / "a.txt").write_text("N/A\n")
    (tmp_path / "b.txt").write_bytes("Größe".encode("utf-16"))
    (tmp_path / "c.txt").write_bytes("Größe".encode("utf-8-sig"))
    entries = list(open_archive("folder", tmp_path).records())
    assert [entry.fields["report"] for entry in entries if isinstance(entry, Record)] == ["Größe", "Größe"]
    assert entries[0] == Loss("a.png", "the report is 'N/A', which stands for missing text")


def test_lines_with_numbers_that_json_has_not_are_lost_alone(tmp_path):
    put(tmp_path, "a")
    row = {"id": "a", "image": "a.png", "report": "clear", "split": "train", "age": 7}
    lines = [{**row, "age": float("nan")}, row, {**row, "id": "b", "report": "null"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lost, kept, word = open_archive("folder", tmp_path).records()  # our own form: its texts are taken as they are
    assert lost == Loss("pairs.jsonl:1", "field 'age' is NaN, which JSON does not have")
    assert kept.fields["age"] == 7
    assert word.fields["report"] == "null"
