"""One row of numbers a pair; what cannot be read is a failure that keeps its row."""

import hashlib

import numpy as np
from PIL import Image

from medim.data.checks.reading import ROW, name_key, parts, read_part
from medim.data.sources.folder import FolderDataset


def test_splits_are_cut_into_chunks_that_cover_them():
    cut = parts({"train": 130, "val": 0, "test": 64})
    assert [(p.split, p.number, p.start, p.stop) for p in cut] == [
        ("train", 0, 0, 64),
        ("train", 0, 64, 128),
        ("train", 0, 128, 130),
        ("test", 2, 0, 64),
    ]


def read(path):
    dataset = FolderDataset(path, allow_leakage=True)
    (part,) = parts({"train": dataset.size("train")})
    return read_part(dataset, part, None)


def test_a_row_holds_what_the_picture_and_the_report_tell(folder, row):
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (100, 1)))
    red = Image.new("RGB", (20, 30), (255, 0, 0))
    path = folder(row("a", "train", report="Two  words."), row("b", "train"), images={"a.png": ramp, "b.png": red})
    rows, tally = read(path)
    assert rows.dtype == ROW
    first, second = rows
    assert (first["width"], first["height"], first["words"]) == (256, 100, 2)
    assert (first["low"], first["high"]) == (1, 254)
    assert abs(first["spread"] - np.arange(256).std()) < 1e-3
    assert not first["colour"]
    assert second["colour"]
    assert second["spread"] == 0
    assert first["patient"] == name_key("p-a")
    assert first["image"] != second["image"]
    assert tally.of["kinds"] == {"PNG, L": 1, "PNG, RGB": 1}
    assert tally.of["reports"]["short"] == 1
    assert tally.of["reports"]["labelled"] == 2


def test_a_broken_picture_is_a_failure_and_the_rest_is_kept(folder, row):
    path = folder(row("a", "train"), row("b", "train"), row("c", "train"))
    whole = (path / "b.png").read_bytes()
    (path / "b.png").write_bytes(whole[:200])
    rows, tally = read(path)
    ((name, reason),) = tally.failures
    assert name == "b"
    assert "b.png' cannot be read" in reason
    assert (rows["image"] != 0).tolist() == [True, False, True]
    assert rows["words"].min() > 0


def test_bytes_that_are_not_those_that_were_prepared(folder, row):
    path = folder(row("a", "train"), row("b", "train"))
    stated = hashlib.sha256((path / "a.png").read_bytes()).hexdigest()[:16]
    folder(row("a", "train", image_sha256=stated), row("b", "train", image_sha256=stated))
    _, tally = read(path)
    ((name, reason),) = tally.failures
    assert name == "b"
    assert "its bytes do not match image_sha256" in reason
