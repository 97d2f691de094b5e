"""Each form is read back by its consumer and equals what was exported, through the original pairs."""

import json
import tarfile
from pathlib import Path

import pytest
import yaml

from benchmark.export.export import export
from benchmark.export.formats import FORMS
from benchmark.export.gate import Gate, Rules
from medim.data.archives.archive import Record, open_archive
from medim.data.dataset import pairs
from medim.data.sources.folder import FolderDataset
from medim.imaging.images import read_image
from medim.pair import SPLITS

READERS = {"llava": "llava", "r2gen": "r2gen", "folder": "folder"}


@pytest.fixture
def original(world):
    return world.Data(train=7, val=2, test=3)


@pytest.fixture
def exported(world, original, tmp_path):
    def write(form: str) -> Path:
        export(
            world.Existing(original),
            Gate(Rules(), None, original.steering_image_checker(), original.report_checker()),
            FORMS[form](),
            tmp_path / form,
            title="noise",
            terms="CC0-1.0",
            shard_size=4,
        )
        return tmp_path / form

    return write


def known(original) -> list[tuple]:
    """id, split, report, pixels of every pair."""
    return [(pair.id, split, pair.report, pair.image.tobytes()) for split in SPLITS for pair in pairs(original, split)]


@pytest.mark.parametrize("name", READERS)
def test_the_adapters_read_what_was_exported(exported, original, name):
    out = exported(name)
    archive = open_archive(READERS[name], out, overrides={"terms": "CC0-1.0"})
    records = list(archive.records())
    assert all(isinstance(record, Record) for record in records)
    read = [
        (one.fields["id"], one.fields["split"], one.fields["report"], archive.image(one.source).tobytes()) for one in records
    ]
    assert read == known(original)
    assert {one.fields["terms"] for one in records} == {"CC0-1.0"}


def test_a_folder_is_a_data_set(exported, original):
    dataset = FolderDataset(exported("folder"))
    for split in SPLITS:
        assert [pair.findings for pair in pairs(dataset, split)] == [pair.findings for pair in pairs(original, split)]
    pair, source = dataset.pair("test", 2), original.pair("test", 2)
    assert (pair.patient, pair.study, pair.domain, pair.report) == (source.patient, source.study, source.domain, source.report)
    assert pair.extra["scanner"] == {"name": "none"}
    assert pair.extra["synthetic"] is False
    assert pair.extra["gate"]["agreement"] == 1.0


def test_llava_has_a_question_with_the_image_and_the_report_as_answer(exported, original):
    entries = json.loads((exported("llava") / "data.json").read_text())
    for entry in entries:
        human, model = entry["conversations"]
        assert (human["from"], model["from"]) == ("human", "gpt")
        assert human["value"].startswith("<image>\n")
        assert human["value"].count("<image>") == 1
    assert entries[0]["conversations"][1]["value"] == original.pair("train", 0).report


def test_r2gen_has_its_three_lists_with_paths_below_images(exported):
    out = exported("r2gen")
    annotation = json.loads((out / "annotation.json").read_text())
    assert {split: len(entries) for split, entries in annotation.items()} == {"train": 7, "val": 2, "test": 3}
    for split, entries in annotation.items():
        for entry in entries:
            assert entry["split"] == split
            assert [(out / "images" / path).is_file() for path in entry["image_path"]] == [True]


@pytest.mark.parametrize("form", ["huggingface", "parquet"])
def test_datasets_reads_what_was_exported(exported, original, form, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    out = exported(form)
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded) == ["test", "train", "validation"]
    names = {"train": "train", "val": "validation", "test": "test"}
    read = [
        (row["id"], split, row["report"], row["image"].convert("RGB").tobytes())
        for split in SPLITS
        for row in loaded[names[split]]
    ]
    assert sorted(read) == sorted(known(original))
    row = loaded["train"][0]
    assert (row["synthetic"], row["terms"], row["gate_agreement"]) == (False, "CC0-1.0", 1.0)
    assert json.loads(row["extra"])["scanner"] == {"name": "none"}


def test_parquet_holds_the_images_and_no_loose_one_stays(exported):
    out = exported("parquet")
    assert sorted(path.name for path in (out / "data").iterdir()) == [
        "test-00000.parquet",
        "train-00000.parquet",
        "train-00001.parquet",
        "val-00000.parquet",
    ]
    assert not list(out.rglob("*.png"))


def test_webdataset_samples_are_complete_and_equal_bytes_come_out_again(exported, original, tmp_path):
    out = exported("webdataset")
    tars = sorted((out / "shards").glob("*.tar"))
    assert [path.name for path in tars] == ["test-00000.tar", "train-00000.tar", "train-00001.tar", "val-00000.tar"]
    with tarfile.open(tars[1]) as tar:
        members = tar.getmembers()
        assert [member.name for member in members[:3]] == ["00000000.json", "00000000.png", "00000000.txt"]
        assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}
        report = tar.extractfile("00000000.txt").read().decode()
    assert report == original.pair("train", 0).report
    assert not list(out.rglob("*.png"))


def test_webdataset_reads_what_was_exported(exported, original):
    webdataset = pytest.importorskip("webdataset")
    out = exported("webdataset")
    read = []
    for split in SPLITS:
        urls = [str(path) for path in sorted((out / "shards").glob(f"{split}-*.tar"))]
        for image, text, row in webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("png", "txt", "json"):
            assert row["report"] == text
            read.append((row["id"], row["split"], text, image.convert("RGB").tobytes()))
    assert read == known(original)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_has_a_data_card(exported, form):
    out = exported(form)
    text = (out / "README.md").read_text()
    header = yaml.safe_load(text.split("---")[1])
    assert header["license_name"] == "CC0-1.0"
    assert ("configs" in header) == (form in ("huggingface", "parquet"))
    assert "12 pairs" in text
    assert "NOT held against any training set" in text
    assert json.loads((out / "gate" / "gate.json").read_text())["counts"]["by_split"] == {"train": 7, "val": 2, "test": 3}


def test_an_unreadable_image_is_a_failure(world, exported, tmp_path):
    folder = exported("folder")
    first = sorted((folder / "images").rglob("*.png"))[0]
    first.write_bytes(first.read_bytes()[:80])
    outcome = export(
        world.Existing(FolderDataset(folder)), Gate(Rules()), FORMS["llava"](), tmp_path / "again", title="", terms="CC0-1.0"
    )
    assert (outcome.kept, outcome.failed) == (11, 1)
    failure = json.loads((tmp_path / "again" / "failures.jsonl").read_text())
    assert failure["id"] == "train.00"
    assert read_image(tmp_path / "again" / "images" / "00000" / "00000001.png").size == (world.SIDE, world.SIDE)
