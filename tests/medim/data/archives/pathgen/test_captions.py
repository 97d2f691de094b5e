"""The captions of PathGen: found, read without filling the memory, and told where they are wrong."""

import json
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from medim.common.errors import UserError
from medim.data.archives.archive import Loss

ENTRY = {"wsi_id": "a", "position": ["0", "0"], "caption": "tissue at 0, 0"}


def test_wrong_entries_are_losses_by_number(pathgen, pathgen_root: Path) -> None:
    wrong = [
        {"wsi_id": pathgen.first, "position": ["0", "0"]},
        "text",
        pathgen.entry(pathgen.first, 0, 0, "  "),
        {**pathgen.entry(pathgen.first, 0, 0), "position": ["0", "-32"]},
        {**pathgen.entry(pathgen.first, 0, 0), "position": [0.5, 1]},
        {**pathgen.entry(pathgen.first, 0, 0), "wsi_id": 7},
        pathgen.entry("GTEX-1117F-0126", 0, 0),
        pathgen.entry("../../TCGA-AA-0001-01Z-00-DX1", 0, 0),
    ]
    good = {**pathgen.entry(pathgen.first, 0, 0), "position": [320, 192]}  # numbers instead of text
    pathgen.write_captions(pathgen_root, [pathgen.entry(pathgen.first, 0, 0), *wrong, good])
    records, losses, _ = pathgen.listed(pathgen.opened(pathgen_root))
    assert set(records) == {f"{pathgen.first}_0_0", f"{pathgen.first}_320_192"}
    assert {int(loss.item.rsplit(" ", 1)[1]): loss.reason for loss in losses} == {
        1: "has no 'caption'; its keys are: position, wsi_id",
        2: "is no object but 'text'",
        3: "has an empty 'caption'",
        4: "has a 'position' that is not two whole numbers of pixels: ['0', '-32']",
        5: "has a 'position' that is not two whole numbers of pixels: [0.5, 1]",
        6: "has a 'wsi_id' that is no text: '7'",
        7: "'GTEX-1117F-0126' is no TCGA slide barcode",
        8: "'../../TCGA-AA-0001-01Z-00-DX1' is no TCGA slide barcode",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps([ENTRY])[:-1] + ', {"wsi_id"', "broken JSON after entry 1: "),
        (json.dumps([ENTRY])[:-1], "broken JSON after entry 1: "),
        ("[nonsense]", "broken JSON: Expecting value"),
        ('{"wsi_id": "a"}', "'wsi_id' holds no list"),
        ('{"train": [1]}', "an object with the key 'train'; a list of entries"),
        ("", "broken JSON: it breaks off"),
        ("[]", "is an empty list"),
        ('[{"image": "a.png", "text": "b"}]', "holds no captions: entry 0 has no 'wsi_id'; its keys are: image, text"),
    ],
)
def test_damaged_or_other_json_is_named(pathgen, pathgen_root: Path, text: str, message: str) -> None:
    (pathgen_root / "PathGen-1.6M.json").write_text(text)
    with pytest.raises(UserError, match=f"PathGen-1.6M.json.*{message}"):
        pathgen.listed(pathgen.opened(pathgen_root))


def test_a_byte_order_mark_does_no_harm(pathgen, pathgen_root: Path) -> None:
    path = pathgen_root / "PathGen-1.6M.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(pathgen.listed(pathgen.opened(pathgen_root))[0]) == 5


def test_captions_are_found_or_named(pathgen, pathgen_root: Path, tmp_path: Path) -> None:
    (pathgen_root / "PathGen-1.6M.json").rename(pathgen_root / "pathgen_sample.json")
    assert pathgen.opened(pathgen_root).captions.name == "pathgen_sample.json"
    assert len(pathgen.listed(pathgen.opened(pathgen_root / "pathgen_sample.json"))[0]) == 5
    pathgen.write_captions(pathgen_root, pathgen.entries[:1])
    with pytest.raises(UserError, match=r"several captions .*\(PathGen-1.6M.json, pathgen_sample.json\); option 'captions'"):
        pathgen.opened(pathgen_root)
    assert len(pathgen.listed(pathgen.opened(pathgen_root, captions="pathgen_sample.json"))[0]) == 5
    with pytest.raises(UserError, match=r"option 'captions': no file '.*none.json'"):
        pathgen.opened(pathgen_root, captions="none.json")
    with pytest.raises(UserError, match=r"no \*PathGen\*.json in '.*'; option 'captions'"):
        pathgen.opened(tmp_path)


def test_repetitions_and_second_captions(pathgen, pathgen_root: Path) -> None:
    pathgen.write_captions(
        pathgen_root,
        [
            pathgen.entry(pathgen.first, 0, 0, "a"),
            pathgen.entry(pathgen.first, 0, 0, "b"),
            pathgen.entry(pathgen.first, 0, 0, " a "),
            pathgen.entry(pathgen.first, 0, 0, "c"),
        ],
    )
    records, losses, excluded = pathgen.listed(pathgen.opened(pathgen_root))
    assert {name: record.fields["report"] for name, record in records.items()} == {
        f"{pathgen.first}_0_0": "a",
        f"{pathgen.first}_0_0_2": "b",
        f"{pathgen.first}_0_0_3": "c",
    }
    assert (losses, excluded) == ([], {"entry repeated word by word": 1})


def test_memory_does_not_grow_with_the_captions(pathgen, tmp_path: Path, pathgen_slides: Path) -> None:
    """15,000 captions of a kilobyte, 100 slides: a peak below a seventh of the file."""
    wsis = [f"TCGA-AA-{n:04d}-01Z-00-DX1.{pathgen.uuid}" for n in range(100)]
    entries = [pathgen.entry(wsis[n * 37 % 100], n * 32, 0, f"caption {n} " + "word " * 180) for n in range(15_000)]
    size = pathgen.write_captions(tmp_path, entries).stat().st_size
    del entries
    archive = pathgen.opened(tmp_path, slides=pathgen_slides)
    tracemalloc.start()
    try:
        losses = sum(isinstance(item, Loss) for item in archive.records())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert losses == 15_000
    assert len(archive.facts()["missing_slides"]) == archive.facts()["slides"] == 100
    assert peak < size / 7, (peak, size)


def test_nothing_is_left_behind(pathgen, pathgen_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    records = pathgen.opened(pathgen_root).records()
    next(records)
    assert list((tmp_path / "scratch").iterdir())
    records.close()
    assert not list((tmp_path / "scratch").iterdir())


def test_a_caption_that_is_none_is_lost_alone_and_named(pathgen, pathgen_root: Path) -> None:
    captions = [float("nan"), "N/A", "tissue"]
    pathgen.write_captions(pathgen_root, [{**pathgen.entry(pathgen.first, 0, 0), "caption": text} for text in captions])
    records, losses, _ = pathgen.listed(pathgen.opened(pathgen_root))
    assert [record.fields["report"] for record in records.values()] == ["tissue"]
    reason = "has '{}' as its 'caption', which stands for missing text"
    assert [loss.reason for loss in losses] == [reason.format("NaN"), reason.format("N/A")]
