import io
import json
import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.archives.archive import Excluded, Loss, Record, open_archive
from medim.data.archives.hub.archive import Hub
from medim.data.archives.hub.tables import Tables, open_tables
from medim.data.archives.preparation.prepare import Preparation
from medim.data.sources.folder import FolderDataset
from medim.data.splits import assign


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of its own, and no network."""
    folder = tmp_path_factory.mktemp("cache")
    for name in ("HF_CACHE_HOME", "HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH"):
        monkeypatch.setattr(datasets.config, name, str(folder))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield folder
    open_tables.cache_clear()


def picture(grey):
    return Image.fromarray(np.full((4, 6), grey, np.uint8))


def png(grey):
    file = io.BytesIO()
    picture(grey).save(file, "PNG")
    return file.getvalue()


FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "text": datasets.Value("string"),
        "subject": datasets.Value("int64"),
        "labels": datasets.List(datasets.ClassLabel(names=["clear", "effusion"])),
        "part": datasets.ClassLabel(names=["train", "dev"]),
        "licence": datasets.Value("string"),
    }
)


def rows(count, first=0):
    return [
        {
            "image": picture(first + n),
            "text": f"Report\n {first + n}.",
            "subject": (first + n) // 2,
            "labels": [n % 2],
            "part": n % 2,
            "licence": "CC0-1.0" if n % 2 else None,
        }
        for n in range(count)
    ]


@pytest.fixture
def parquet(tmp_path):
    """Two splits: train with 5 rows in two files, validation with 2."""
    root = tmp_path / "parquet"
    root.mkdir()
    files = ("train-00000-of-00002", 0, 3), ("train-00001-of-00002", 3, 2), ("validation-00000-of-00001", 50, 2)
    for name, first, count in files:
        table = datasets.Dataset.from_list(rows(count, first), features=FEATURES)
        table.to_parquet(str(root / f"{name}.parquet"))
    return root


def open_hub(root, **options):
    archive = open_archive("hub", root, None, {"report": "text", **options})
    assert isinstance(archive, Hub)
    return archive


def greys(archive, records):
    return [archive.image(record.source).getpixel((0, 0))[0] for record in records]


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_by_column_names(parquet, streaming):
    columns = {"patient": "subject", "findings": "labels", "terms_column": "licence"}
    archive = open_hub(parquet, streaming=streaming, terms="CC BY 4.0", domain="skin", **columns)
    records = list(archive.records())
    assert all(isinstance(record, Record) for record in records)
    assert [record.source for record in records] == [*(["train", n] for n in range(5)), ["validation", 0], ["validation", 1]]
    assert records[3].fields == {
        "id": "train-0000003",
        "report": "Report 3.",
        "split": "train",
        "patient": "1",
        "study": "train-0000003",
        "domain": "skin",
        "terms": "CC BY 4.0",
        "findings": ["clear"],
    }
    assert records[1].fields["terms"] == "CC0-1.0"
    assert records[1].fields["findings"] == ["effusion"]
    assert [record.fields["split"] for record in records] == ["train"] * 5 + ["val"] * 2
    assert greys(archive, records) == [0, 1, 2, 3, 4, 50, 51]
    assert greys(archive, records[::-1]) == [51, 50, 4, 3, 2, 1, 0]
    assert archive.image(records[0].source).size == (6, 4)
    assert archive.facts()["rows"] == {"train": 5, "validation": 2}
    assert archive.facts()["pairs_without_terms"] == 0
    assert json.loads(json.dumps([record.source for record in records])) == [record.source for record in records]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_worker_finds_the_picture_by_its_row(parquet, streaming):
    archive = open_hub(parquet, streaming=streaming)
    records = list(archive.records())
    copy = pickle.dumps(archive)
    assert len(copy) < 5000
    open_tables.cache_clear()  # another process has nothing opened
    assert greys(pickle.loads(copy), records) == [0, 1, 2, 3, 4, 50, 51]


def test_a_streamed_column_is_read_once_when_rows_grow(parquet, monkeypatch):
    begun = []
    plain = Tables.rows

    def counted(self, split, columns):
        begun.append((split, *columns))
        return plain(self, split, columns)

    monkeypatch.setattr(Tables, "rows", counted)
    tables = open_hub(parquet, streaming=True)._tables()
    assert [tables.cell("train", n, "subject") for n in (0, 2, 2, 4)] == [0, 1, 1, 2]
    assert begun == [("train", "subject")]
    with pytest.raises(UserError, match="split 'train' has no row 5 any more"):
        tables.cell("train", 5, "text")
    with pytest.raises(UserError, match="split 'train' has no row 5 any more"):
        open_hub(parquet)._tables().cell("train", 5, "text")


def test_splits_by_a_column_by_drawing_or_left_out(parquet):
    by_column = list(open_hub(parquet, split_column="part").records())
    assert [record.fields["split"] for record in by_column] == ["train", "val", "train", "train", "val", "train", "val"]
    drawn = list(open_hub(parquet, split="drawn", patient="subject", val="0.4", test="0.4", seed="2").records())
    assert [record.fields["split"] for record in drawn] == [
        assign(str(n // 2), {"val": 0.4, "test": 0.4}, 2) for n in (0, 1, 2, 3, 4, 50, 51)
    ]
    named = list(open_hub(parquet, split_names="train=test, validation=none").records())
    assert [record.fields["split"] for record in named[:5]] == ["test"] * 5
    assert named[5:] == [Excluded("split: validation")] * 2


def test_exported_pairs_that_are_drawn_anew_stay_with_their_patients(tmp_path):
    picture(9).save(tmp_path / "x.png")
    lines = []
    for number in range(24):
        own = {"id": f"i{number}", "split": "train", "patient": f"p{number // 3}", "study": f"s{number}", "gate": {}}
        own |= {"domain": "d", "terms": "CC0-1.0", "synthetic": True, "seed": number}
        lines.append(json.dumps({"image": "x.png", "text": "a report.", "extra": json.dumps(own)}) + "\n")
    (tmp_path / "train.jsonl").write_text("".join(lines))
    records = list(open_hub(tmp_path / "train.jsonl", split="drawn", val="0.3", test="0.3").records())
    found = [(record.fields["id"], record.fields["split"]) for record in records]
    assert found == [(f"i{number}", assign(f"p{number // 3}", {"val": 0.3, "test": 0.3}, 0)) for number in range(24)]
    assert len({split for _, split in found}) > 1


def test_several_pictures_in_a_row(tmp_path):
    features = datasets.Features({"image": datasets.List(datasets.Image()), "text": datasets.Value("string")})
    content = [{"image": [picture(grey) for grey in g], "text": text} for g, text in (([1, 2], "a"), ([], "b"), ([3], "c"))]
    datasets.Dataset.from_list(content, features=features).to_parquet(str(tmp_path / "test.parquet"))
    for streaming in (False, True):
        archive = open_hub(tmp_path / "test.parquet", streaming=streaming)
        entries = list(archive.records())
        records = [entry for entry in entries if isinstance(entry, Record)]
        assert [record.fields["id"] for record in records] == ["test-0000000-0", "test-0000000-1", "test-0000002"]
        assert [record.fields["study"] for record in records] == ["test-0000000", "test-0000000", "test-0000002"]
        assert {record.fields["split"] for record in records} == {"test"}
        assert greys(archive, records) == [1, 2, 3]
        assert [e for e in entries if isinstance(e, Loss)] == [Loss("test, row 1", "column 'image' is an empty list")]


def test_an_image_folder_and_a_table_of_paths(tmp_path):
    folder = tmp_path / "folder" / "train"
    folder.mkdir(parents=True)
    picture(70).save(folder / "a.png")
    (folder / "metadata.csv").write_text("file_name,text\na.png,hello\n")
    archive = open_hub(tmp_path / "folder")
    assert greys(archive, list(archive.records())) == [70]
    paths = ("train/a.png", "../a.png", "/etc/hosts", "none.png")
    (tmp_path / "folder" / "rows.csv").write_text("\n".join(["image,text", *(f"{path},words" for path in paths)]))
    archive = open_hub(tmp_path / "folder" / "rows.csv", split_names="unsplit=train")
    first, outside, absolute, gone = archive.records()
    assert greys(archive, [first]) == [70]
    for record, says in (
        (outside, "leads outside"),
        (absolute, "names the file '/etc/hosts', outside"),
        (gone, r"column 'image' of rows\.csv:5: 'none\.png' cannot be read: No such file"),
    ):
        with pytest.raises(UserError, match=says):
            archive.image(record.source)


def test_bytes_json_lines_and_what_save_to_disk_wrote(tmp_path):
    datasets.Dataset.from_dict({"image": [png(7)], "text": ["a"]}).save_to_disk(str(tmp_path / "disk"))
    archive = open_hub(tmp_path / "disk", split_names="unsplit=val")
    (record,) = archive.records()
    assert (record.fields["split"], greys(archive, [record])) == ("val", [7])
    pair = datasets.DatasetDict({"test": datasets.Dataset.from_dict({"image": [png(8)], "text": ["b"]})})
    pair.save_to_disk(str(tmp_path / "pair"))
    for streaming in (False, True):
        archive = open_hub(tmp_path / "pair", streaming=streaming)
        assert greys(archive, list(archive.records())) == [8]
    picture(9).save(tmp_path / "x.png")
    (tmp_path / "train.jsonl").write_text('{"image": "x.png", "text": "c", "tags": "a; b,c"}\n')
    archive = open_hub(tmp_path / "train.jsonl", findings="tags")
    (record,) = archive.records()
    assert greys(archive, [record]) == [9]
    assert record.fields["findings"] == ["a", "b", "c"]
    assert record.fields["terms"] == "not stated"
    assert archive.facts()["pairs_without_terms"] == 1


def test_what_a_row_lacks_is_a_loss(tmp_path):
    table = {
        "image": [png(1), png(2), None, b"no image"],
        "text": ["a", " ", "c", "d"],
        "who": ["x", "x", None, "x"],
        "uid": ["u", "v", "w", "u"],
    }
    datasets.Dataset.from_dict(table).to_parquet(str(tmp_path / "train.parquet"))
    entries = list(open_hub(tmp_path / "train.parquet", patient="who", id="uid").records())
    assert [entry.reason for entry in entries if isinstance(entry, Loss)] == ["column 'text' is empty", "column 'who' is empty"]
    assert [entry.fields["id"] for entry in entries if isinstance(entry, Record)] == ["u", "u-2"]
    archive = open_hub(tmp_path / "train.parquet")
    with pytest.raises(UserError, match="row 2 in split 'train' holds no image, no bytes and no path"):
        archive.image(["train", 2])
    with pytest.raises(UserError, match=r"^column 'image' of row 3 in split 'train' cannot be read: not an image"):
        archive.image(["train", 3])
    (loss, *_) = open_hub(tmp_path / "train.parquet", patient="who", patient_from=r"(\d)").records()
    assert loss == Loss("train, row 0", r"patient_from '(\d)' does not match 'x'")


@pytest.mark.parametrize("column", ["report", "image", "patient", "study", "findings", "split_column", "terms_column", "id"])
def test_a_missing_column_is_named_with_the_nearest(parquet, column):
    with pytest.raises(UserError, match="split 'train': column 'tex' is missing; the columns are: text, "):
        open_hub(parquet, **{column: "tex"})


def test_a_source_that_cannot_be_opened_is_one_line(tmp_path, parquet):
    (tmp_path / "bad.parquet").write_bytes(b"xx" * 50)
    with pytest.raises(UserError, match=r"bad\.parquet' cannot be opened: Parquet magic bytes not found"):
        open_hub(tmp_path / "bad.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty' cannot be opened: .*doesn't contain any data files"):
        open_hub(tmp_path / "empty")
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"a\.xlsx' is none of \.parquet, \.arrow, \.csv"):
        open_hub(tmp_path / "a.xlsx")
    with pytest.raises(UserError, match="does not exist, and is no hub id"):
        open_hub(tmp_path / "none")
    (tmp_path / "some.csv").write_text("image,text\na,b\n")
    with pytest.raises(UserError, match="unknown split 'unsplit'.*split_names=unsplit=train, or give split=drawn"):  # noqa: RUF043
        open_hub(tmp_path / "some.csv")
    with pytest.raises(UserError, match="option 'split_names': Value error, 'a=b' must be name=split"):
        open_hub(parquet, split_names="a=b")


def test_offline_is_respected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="hub: 'nobody/nothing' cannot be opened: .*[Oo]ffline"):  # noqa: RUF043
        open_archive("hub", Path("nobody/nothing"))


def test_a_source_that_changed_is_read_anew(parquet):
    assert len(list(open_hub(parquet).records())) == 7
    datasets.Dataset.from_list(rows(1), features=FEATURES).to_parquet(str(parquet / "validation-00000-of-00001.parquet"))
    assert len(list(open_hub(parquet).records())) == 6


def test_prepared_into_a_folder(parquet, tmp_path):
    preparation = Preparation(open_hub(parquet, patient="subject"), tmp_path / "out")
    with preparation.claimed():
        prepared = preparation.make(preparation.plan())
    assert prepared.splits == {"train": 5, "val": 2}
    made = FolderDataset(tmp_path / "out")
    values = [Image.open(made.pair("train", n).image).getpixel((0, 0)) for n in range(5)]
    assert values == [0, 1, 2, 3, 4]


# ---- tables of text --------------------------------------------------------------------------------------------------------

KEYS = [
    "0001",
    "01",
    "1",
    "1e0",
    "1.0",
    "00000",
    "12E5",
    "1200000",
    "50000001",
    "1234567890123456",
    "1234567890123457",
    "2020-01-01",
    "True",
    "NA",
]


def text_folder(root, suffix, separator=",", encoding="utf-8", report="clear"):
    """`train` and nothing else: a picture of its own for each key, which is id and patient."""
    (root / "images").mkdir(parents=True)
    rows = [{"id": key, "patient": key, "image": f"images/{n}.png", "text": report} for n, key in enumerate(KEYS)]
    for n in range(len(KEYS)):
        picture(n).save(root / "images" / f"{n}.png")
    if suffix in (".json", ".jsonl"):
        lines = [json.dumps(row) for row in rows]
        text = "[" + ",".join(lines) + "]" if suffix == ".json" else "\n".join(lines)
    else:
        text = "\r\n".join(separator.join(row) for row in [rows[0].keys(), *(row.values() for row in rows)])
    (root / f"train{suffix}").write_bytes(text.encode(encoding))
    return root


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("form", [(".csv", ","), (".csv", ";"), (".csv", "\t"), (".tsv", "\t"), (".json", ""), (".jsonl", "")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_keys_are_text_as_they_are_written(tmp_path, form, encoding, whole):
    root = text_folder(tmp_path / "root", *form, encoding)
    archive = open_hub(root if whole else root / f"train{form[0]}", id="id", patient="patient")
    records = list(archive.records())
    assert [record.fields["id"] for record in records] == KEYS
    assert [record.fields["patient"] for record in records] == KEYS
    assert greys(pickle.loads(pickle.dumps(archive)), records) == list(range(len(KEYS)))
    assert json.loads(json.dumps([record.source for record in records])) == [record.source for record in records]
    said = ["1 x 'id' is 'NA', taken as a name although it reads like a missing value"]
    assert archive.facts()["keys"] == [*said, said[0].replace("'id'", "'patient'")]


def test_an_image_folders_metadata_are_text_too(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        picture(70).save(tmp_path / split / "a.png")
        (tmp_path / split / "metadata.csv").write_text("file_name,text,who\na.png,NA,0001\na.png,hello,\na.png,ho,0002\n")
    archive = open_hub(tmp_path, patient="who")
    entries = list(archive.records())
    assert [entry.reason for entry in entries if isinstance(entry, Loss)] == [
        "column 'text' is 'NA', which stands for missing text",
        "column 'who' is empty",
    ] * 2
    records = [entry for entry in entries if isinstance(entry, Record)]
    assert [record.fields["patient"] for record in records] == ["0002", "0002"]
    assert {record.fields["split"] for record in records} == {"train", "test"}
    assert greys(archive, records) == [70, 70]


def test_a_table_beside_pictures_is_found_whatever_it_is_called(tmp_path):
    text_folder(tmp_path / "root", ".csv")
    (tmp_path / "root" / "train.csv").rename(tmp_path / "root" / "reports.csv")
    assert len(list(open_hub(tmp_path / "root", split="drawn", id="id").records())) == len(KEYS)


def test_the_floats_of_a_typed_table_are_told(tmp_path):
    table = {"image": [png(1)] * 3, "text": ["a", "b", "c"], "who": [1.0, None, 5e7], "uid": [b"01", b"02", b"\xff"]}
    datasets.Dataset.from_dict(table).to_parquet(str(tmp_path / "train.parquet"))
    archive = open_hub(tmp_path / "train.parquet", patient="who", id="uid")
    entries = list(archive.records())
    assert [entry.fields["patient"] for entry in entries if isinstance(entry, Record)] == ["1.0"]
    assert [entry.fields["id"] for entry in entries if isinstance(entry, Record)] == ["01"]
    assert [entry.reason for entry in entries if isinstance(entry, Loss)] == [
        "column 'who' is empty",
        "column 'uid' holds bytes that are no text",
    ]
    assert archive.facts()["keys"] == [
        "1 x 'who' is a number with a fraction, taken as Python prints it: what it was as text is lost",
        "1 x 'who' is empty: taken as if the option named no column",
    ]


@pytest.mark.parametrize("key", [["a"], {"a": 1}, True])
def test_a_key_that_names_nothing_is_lost_by_its_value(tmp_path, key):
    datasets.Dataset.from_dict({"image": [png(1)], "text": ["a"], "uid": [key]}).to_parquet(str(tmp_path / "train.parquet"))
    (loss,) = open_hub(tmp_path / "train.parquet", id="uid").records()
    assert loss.reason == f"column 'uid' is neither a text nor a whole number: {key!r}"


def test_an_empty_key_is_told_and_whole_numbers_stay_whole(tmp_path):
    table = {"image": [png(1)] * 3, "text": ["a", "b", "c"], "uid": [50000001, None, 7]}
    datasets.Dataset.from_dict(table).to_parquet(str(tmp_path / "train.parquet"))
    archive = open_hub(tmp_path / "train.parquet", id="uid")
    assert [entry.fields["id"] for entry in archive.records()] == ["50000001", "train-0000001", "7"]
    assert archive.facts()["keys"] == ["1 x 'uid' is empty: taken as if the option named no column"]


@pytest.mark.parametrize("word", ["None", "NA", "nan", "null", "N/A", "NaN", "<NA>"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_word_for_missing_text_is_named(tmp_path, word, suffix):
    root = text_folder(tmp_path, suffix, report=word)
    assert [loss.reason for loss in open_hub(root).records()] == [
        f"column 'text' is '{word}', which stands for missing text"
    ] * len(KEYS)


def test_a_row_of_text_is_lost_alone_by_its_line(tmp_path):
    root = text_folder(tmp_path / "a", ".csv")
    (root / "train.csv").write_bytes(b"id,image,text\nx,images/0.png,Gr\xf6sse\ny,images/1.png,fine\n")
    lost, kept = open_hub(root).records()
    assert (lost.item, lost.reason) == ("train.csv:2", "column 'text' is not UTF-8 (byte 0xF6); save the file as UTF-8")
    assert kept.fields["report"] == "fine"
    root = text_folder(tmp_path / "b", ".jsonl")
    (root / "train.jsonl").write_text(
        '{"image": "images/0.png", "text": NaN}\n7\n{"image": ["images/1.png"], "text": "fine"}\n'
    )
    missing, number, kept = open_hub(root).records()
    assert missing.reason == "column 'text' is 'NaN', which stands for missing text"
    assert (number.item, number.reason) == ("train.jsonl, entry 2", "an object is needed")
    assert greys(open_hub(root), [kept]) == [1]


def test_windows_paths_are_hinted_at(tmp_path):
    (tmp_path / "train.csv").write_text("image,text\nimages\\0.png,fine\n")
    (tmp_path / "images").mkdir()
    picture(1).save(tmp_path / "images" / "0.png")
    archive = open_hub(tmp_path / "train.csv")
    preparation = Preparation(archive, tmp_path / "out")
    says = r"1 failures, the first: train-0000000: .*'images\\0\.png' cannot be read: No such file.*write it with '/'"
    with pytest.raises(UserError, match=says), preparation.claimed():
        preparation.make(preparation.plan())
    assert "write it with" in (tmp_path / "out" / "failures.jsonl").read_text()


def test_a_missing_column_names_none_of_pandas_own(tmp_path):
    import pandas as pd

    table = pd.DataFrame({"image": ["a.png"], "words": ["fine"]}, index=["x"])
    table.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"column 'text' is missing; the columns are: [a-z, ]*$"):
        open_hub(tmp_path / "train.parquet")
