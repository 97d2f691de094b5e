"""Every form comes back through our own reader with every field that was written."""

import json

import pytest

from benchmark.export.export import export
from benchmark.export.formats import FORMS
from benchmark.export.gate import Gate, Rules
from medim.data.archives.archive import open_archive
from medim.data.archives.preparation.pictures import Storage
from medim.data.archives.preparation.prepare import Preparation
from medim.data.dataset import pairs
from medim.data.sources.folder import FolderDataset
from medim.imaging.images import read_image
from medim.pair import SPLITS

READERS = dict.fromkeys(FORMS, "hub") | {"folder": "folder", "llava": "llava", "r2gen": "r2gen"}

FULL = {
    "patient": "2021-03-04",
    "study": "0001",
    "domain": "pathology",
    "view": "PA",
    "terms": "CC BY 4.0 “as is”",
    "findings": ["odd", "naïve; 日本"],
    "sections": {"findings": "no ✓\nnext line", "impression": ""},
    "source": "site B",
    "prompt": "Write\nit.",
    "seed": 2**63 - 1,
    "model": {"name": "x"},
    "note": None,
    "age": 61.5,
    "extra": {"deep": [1, None]},
    "image_path": "elsewhere.png",
    "conversations": [],
    "synthetic": True,
    "scanner": {"kV": 120},
    "file_name": "f",
    "1": "",
}
LINES = [
    {"id": "0001.a", "split": "train", "report": "line one\n\n  line “two”\u2028 <image> seen; ünïcode 日本", **FULL},
    {"id": "0001.b", "split": "train", "report": "the other view", **FULL, "findings": [], "view": "LL"},
    {"id": "1e0", "split": "train", "report": "nan", "patient": "50000001", "study": "1e5", "domain": "chest-xray"},
    {"id": "2021-01-01", "split": "val", "report": "2021-01-01", "findings": [], "sections": {"impression": "fine"}},
    {"id": "None", "split": "test", "report": "NA", "patient": "null", "study": "01", "seed": "seven", "prompt": 5},
]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("original")
    lines = [{**line, "image": f"{number}.png"} for number, line in enumerate(LINES)]
    for number in range(len(lines)):
        Image.new("RGB", (16, 16), (number * 40, 7, 200)).save(folder / f"{number}.png")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return FolderDataset(folder)


def known(dataset, exported: bool) -> dict:
    """All that is known of each pair, by id; of an export without what it adds, which has to be there."""
    found = {}
    for split in SPLITS:
        for pair in pairs(dataset, split):
            extra = dict(pair.extra)
            extra.pop("image_sha256", None)
            added = {"synthetic": extra.pop("synthetic", False)}
            if exported:
                assert extra.pop("gate") == {"agreement": None, "nats": None, "distance": None}
            found[pair.id] = (
                pair.report,
                pair.split,
                pair.study,
                pair.patient,
                pair.view,
                pair.domain,
                pair.findings,
                pair.terms,
                pair.sections,
                extra,
                added,
                read_image(pair.image).convert("RGB").tobytes(),
            )
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_field_comes_back(world, original, form, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    out, again = tmp_path / form, tmp_path / "again"
    export(world.Existing(original), Gate(Rules()), FORMS[form](), out, title="t", terms="mixed", shard_size=2)
    preparation = Preparation(open_archive(READERS[form], out), again, Storage())
    with preparation.claimed():
        prepared = preparation.make(preparation.plan())
    assert (prepared.splits, prepared.failures) == ({"train": 3, "val": 1, "test": 1}, 0)
    found, expected = known(FolderDataset(again), True), known(original, False)
    for id in expected:
        given = list(expected[id])
        given[7] = given[7] or original.terms  # the export states the terms of the set where a pair states none
        given[5] = given[5] or "not stated"  # as `data prepare` says of every pair without one
        assert list(found[id]) == given
    assert len(found) == len(expected)


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_every_field_comes_back_as_rows_arrive(world, original, form, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    export(world.Existing(original), Gate(Rules()), FORMS[form](), tmp_path / form, title="t", terms="mixed")
    archive = open_archive("hub", tmp_path / form, overrides={"streaming": "true", "id": "id"} if form == "parquet" else {})
    records = {record.fields["id"]: record for record in archive.records()}
    assert records["0001.a"].fields["note"] is None
    assert records["0001.a"].fields["extra"] == {"deep": [1, None]}
    assert archive.image(records["None"].source).size == (16, 16)


def test_an_exported_entry_that_was_damaged_is_lost_by_name(world, original, tmp_path):
    export(world.Existing(original), Gate(Rules()), FORMS["llava"](), tmp_path / "out", title="t", terms="mixed")
    file = tmp_path / "out" / "data.json"
    entries = json.loads(file.read_text())
    entries[0]["patient"] = 7
    file.write_text(json.dumps(entries))
    lost, *others = open_archive("llava", tmp_path / "out").records()
    assert (lost.item, lost.reason) == ("data.json, entry 1 (0001.a)", "field 'patient' is missing or no text")
    assert len(others) == 4


def test_the_options_fill_what_a_pair_does_not_state(world, original, tmp_path):
    export(world.Existing(original), Gate(Rules()), FORMS["r2gen"](), tmp_path / "out", title="t", terms="mixed")
    archive = open_archive("r2gen", tmp_path / "out", overrides={"domain": "retina", "study": "first", "patient_from": "^(.)"})
    fields = {record.fields["id"]: record.fields for record in archive.records() if hasattr(record, "fields")}
    assert (fields["2021-01-01"]["domain"], fields["1e0"]["domain"]) == ("retina", "chest-xray")
    assert fields["1e0"]["patient"] == "1"
    assert set(fields) == {"0001.a", "1e0", "2021-01-01", "None"}
