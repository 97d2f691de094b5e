import json
import pickle
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from medim.data.archives.archive import Excluded, Loss, Record, open_archive
from medim.data.archives.pathgen import PAPER, PATCH, PathGen
from medim.data.archives.prepare import Preparation
from medim.data.folder import FolderDataset
from medim.errors import UserError
from medim.files import hash_of

UUID = "E852F218-B15C-4CF8-8FD0-F284043834C4"
FIRST, SECOND, THIRD, FOURTH = (
    f"TCGA-{name}-01Z-00-DX1.{UUID[:-4]}{n:04d}" for n, name in enumerate(("AA-0001", "AA-0002", "BB-0003", "BB-0004"))
)


def entry(wsi: str, x: int, y: int, caption: str | None = None, **fields: Any) -> dict[str, Any]:
    caption = f"tissue at {x}, {y}" if caption is None else caption
    return {"wsi_id": wsi, "position": [str(x), str(y)], "caption": caption, **fields}


ENTRIES = [
    entry(SECOND, 0, 0, file_id="f2"),
    entry(FIRST, 320, 192),
    entry(THIRD, 64, 32, file_id="f3"),
    entry(FIRST, 0, 0),
    entry(SECOND, 1376, 864, file_id="f2"),
    entry(FIRST, 1344, 832),
]


def write_captions(root: Path, entries: list[Any], name: str = "PathGen-1.6M.json") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return root / name


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory, write_slide) -> Path:
    """As the GDC client leaves them: a folder for each file, the third not finished."""
    folder = tmp_path_factory.mktemp("gdc")
    write_slide(folder / "0a" / f"{FIRST}.svs")
    write_slide(folder / "1b" / f"{SECOND.replace('E852', 'e852')}.svs", mpp="0.5", power="20")
    (folder / "2c").mkdir()
    (folder / "2c" / f"{THIRD}.svs.partial").write_bytes(b"II*\0")
    return folder


@pytest.fixture
def root(tmp_path: Path, slides: Path) -> Path:
    write_captions(tmp_path / "root", ENTRIES)
    (tmp_path / "root" / "slides").symlink_to(slides)
    return tmp_path / "root"


def opened(root: Path, preset: str | None = None, **overrides: Any) -> PathGen:
    archive = open_archive("pathgen", root, preset, {key: str(value) for key, value in overrides.items()})
    assert isinstance(archive, PathGen)
    return archive


def listed(archive: PathGen) -> tuple[dict[str, Record], list[Loss], Counter[str]]:
    records: dict[str, Record] = {}
    losses, excluded = [], Counter[str]()
    for item in archive.records():
        if isinstance(item, Record):
            assert item.fields["id"] not in records
            records[item.fields["id"]] = item
        elif isinstance(item, Loss):
            losses.append(item)
        else:
            assert isinstance(item, Excluded)
            excluded[item.reason] += 1
    return records, losses, excluded


# ---- pairs -----------------------------------------------------------------------------------------------------------------


def test_every_caption_becomes_a_pair_or_a_loss(root: Path) -> None:
    archive = opened(root)
    records, losses, excluded = listed(archive)
    assert set(records) == {f"{FIRST}_320_192", f"{FIRST}_0_0", f"{FIRST}_1344_832", f"{SECOND}_0_0", f"{SECOND}_1376_864"}
    assert losses == [
        Loss(f"{THIRD}_64_32", f"slide '{THIRD}' is not below '{root}' (its download is not finished)"),
    ]
    assert not excluded
    facts = archive.facts()
    assert (facts["entries"], facts["slides"], facts["damaged_slides"]) == (6, 3, [])
    assert facts["missing_slides"] == [{"wsi": THIRD, "file_id": "f3", "pairs": 1}]
    assert facts["slides_by_microns_per_pixel"] == {"0.25": 1, "0.50": 1}
    assert facts["expected"]["medim_paper"] == PAPER == {"train": 736_188, "test": 8_000}


def test_the_fields_of_a_pair(root: Path) -> None:
    record = listed(opened(root))[0][f"{FIRST}_320_192"]
    fields = dict(record.fields)
    assert fields.pop("split") in ("train", "val", "test")
    assert fields == {
        "id": f"{FIRST}_320_192", "report": "tissue at 320, 192", "patient": "TCGA-AA-0001", "site": "TCGA-AA",
        "study": f"{FIRST}_320_192", "domain": "pathology", "terms": PathGen.terms, "wsi": FIRST, "position": [320, 192],
        "level": 0, "tile": 672, "microns_per_pixel": 0.25,
    }  # fmt: skip
    assert json.loads(json.dumps(record.source)) == record.source == [f"slides/0a/{FIRST}.svs", 320, 192]


def test_pairs_of_a_slide_follow_each_other(root: Path) -> None:
    slides = [item.fields["wsi"] for item in opened(root).records() if isinstance(item, Record)]
    assert [slide for n, slide in enumerate(slides) if n == 0 or slide != slides[n - 1]] in ([FIRST, SECOND], [SECOND, FIRST])


def test_the_order_depends_on_the_archive_alone(root: Path) -> None:
    once, again = (list(opened(root).records()) for _ in range(2))
    assert once == again


def test_the_picture_is_what_the_caption_describes(root: Path, blocks) -> None:
    archive = pickle.loads(pickle.dumps(opened(root)))
    for name, record in listed(archive)[0].items():
        x, y = map(int, name.rsplit("_", 2)[1:])
        image = archive.image(record.source)
        np.testing.assert_array_equal(np.asarray(image), blocks(2048, 1536, 0)[y : y + PATCH, x : x + PATCH])


def test_another_tile_or_scale_keeps_the_centre_of_the_caption(root: Path, blocks) -> None:
    """0.5 microns: 2 x 2 pixels of level 0 for each of the first slide, as it is in the second."""
    archive = opened(root, tile=320, microns_per_pixel=0.5)
    records, losses, _ = listed(archive)
    first, second = records[f"{FIRST}_320_192"], records[f"{SECOND}_1376_864"]
    assert (first.source[1:], second.source[1:]) == ([320 + 336 - 320, 192 + 336 - 320], [1376 + 176, 864 + 176])
    assert first.fields["microns_per_pixel"] == second.fields["microns_per_pixel"] == 0.5
    image = np.asarray(archive.image(first.source))
    assert image.shape == (320, 320, 3)
    assert image[161, 161, :2].tolist() == [(336 + 322) // 32 * 3, (208 + 322) // 32 * 4]
    expected = blocks(2048, 1536, 0)[864 + 176 :, 1376 + 176 :][:320, :320]
    np.testing.assert_array_equal(np.asarray(archive.image(second.source)), expected)
    assert len(losses) == 1


def test_what_leaves_the_slide_or_was_scanned_too_coarsely_is_lost_by_name(root: Path) -> None:
    records, losses, _ = listed(opened(root, microns_per_pixel=0.25))
    assert set(records) == {f"{FIRST}_320_192", f"{FIRST}_0_0", f"{FIRST}_1344_832"}
    reasons = {loss.item: loss.reason for loss in losses}
    assert "scanned at 0.5 microns per pixel" in reasons[f"{SECOND}_0_0"]
    write_captions(root, [entry(FIRST, 0, 0), entry(FIRST, 1377, 0)])
    _, losses, _ = listed(opened(root))
    assert [loss.item for loss in losses] == [f"{FIRST}_1377_0"]
    assert "has 2048 x 1536 pixels; the tile of 672 x 672 at (1377, 0) leaves it" in losses[0].reason


def test_a_slide_without_scale_is_lost_or_read_by_its_objective(tmp_path: Path, write_slide) -> None:
    write_slide(tmp_path / f"{FIRST}.svs", mpp=None, power="20")
    write_captions(tmp_path, [entry(FIRST, 0, 0)])
    assert listed(opened(tmp_path))[0][f"{FIRST}_0_0"].fields["microns_per_pixel"] is None
    records, losses, _ = listed(opened(tmp_path, microns_per_pixel=0.5))
    assert not records
    assert "does not tell its microns per pixel" in losses[0].reason
    archive = opened(tmp_path, microns_per_pixel=0.5, on_missing_mpp="objective")
    (record,) = listed(archive)[0].values()
    assert record.fields["microns_per_pixel"] == 0.5
    assert archive.image(record.source).size == (672, 672)


def test_a_broken_slide_costs_its_own_pairs_only(root: Path, slides: Path, write_slide) -> None:
    broken = root / f"{FOURTH}.svs"
    broken.write_bytes((slides / "0a" / f"{FIRST}.svs").read_bytes()[:700])
    write_captions(root, [*ENTRIES, entry(FOURTH, 0, 0), entry(FOURTH, 32, 0)])
    archive = opened(root)
    records, losses, _ = listed(archive)
    assert len(records) == 5
    assert Counter(loss.item.partition("_")[0] for loss in losses) == {THIRD: 1, FOURTH: 2}
    (damaged,) = archive.facts()["damaged_slides"]
    assert (damaged["wsi"], damaged["pairs"]) == (FOURTH, 2)
    assert f"slide '{broken}' cannot be opened" in damaged["reason"]


def test_a_slide_may_be_named_by_its_barcode_alone_but_not_by_another_uuid(tmp_path: Path, write_slide) -> None:
    write_slide(tmp_path / f"{FIRST.partition('.')[0]}.svs")
    write_slide(tmp_path / f"{SECOND.partition('.')[0]}.{UUID}.svs")
    write_captions(tmp_path, [entry(FIRST, 0, 0), entry(SECOND, 0, 0)])
    records, losses, _ = listed(opened(tmp_path))
    assert (list(records), [loss.item for loss in losses]) == ([f"{FIRST}_0_0"], [f"{SECOND}_0_0"])


def test_linked_folders_are_followed_once(tmp_path: Path, slides: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(slides)
    write_captions(tmp_path, ENTRIES)
    assert len(listed(opened(tmp_path))[0]) == 5


def test_repetitions_and_second_captions(root: Path) -> None:
    write_captions(root, [entry(FIRST, 0, 0, "a"), entry(FIRST, 0, 0, "b"), entry(FIRST, 0, 0, " a "), entry(FIRST, 0, 0, "c")])
    records, losses, excluded = listed(opened(root))
    assert {name: record.fields["report"] for name, record in records.items()} == {
        f"{FIRST}_0_0": "a", f"{FIRST}_0_0_2": "b", f"{FIRST}_0_0_3": "c",
    }  # fmt: skip
    assert (losses, excluded) == ([], {"entry repeated word by word": 1})


# ---- splits ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, write_slide, blocks) -> Path:
    """2,000 patients of 40 sites with 2 captions each; all slides are links to one."""
    folder = tmp_path_factory.mktemp("many")
    slide = write_slide(folder / "one.tif", [blocks(1024, 768, 0)])
    entries = []
    for n in range(2000):
        wsi = f"TCGA-{n % 40:02d}-{n:04d}-01Z-00-DX1.{UUID}"
        (folder / f"{wsi}.svs").symlink_to(slide)
        entries += [entry(wsi, 0, 0, file_id=f"{n}"), entry(wsi, 32, 64, file_id=f"{n}")]
    write_captions(folder, entries)
    return folder


def splits(records: Mapping[str, Record], field: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records.values():
        found.setdefault(record.fields[field], set()).add(record.fields["split"])
    return found


def test_patients_and_sites_are_never_divided(many: Path) -> None:
    by_patient = listed(opened(many, val=0.1, test=0.2))[0]
    assert len(by_patient) == 4000
    assert all(len(found) == 1 for found in splits(by_patient, "patient").values())
    assert any(len(found) == 3 for found in splits(by_patient, "site").values())
    counts = Counter(record.fields["split"] for record in by_patient.values())
    assert abs(counts["test"] / 4000 - 0.2) < 0.03
    assert abs(counts["val"] / 4000 - 0.1) < 0.03
    by_site = splits(listed(opened(many, val=0.1, test=0.2, by="site"))[0], "site")
    assert all(len(found) == 1 for found in by_site.values())
    assert set.union(*by_site.values()) == {"train", "val", "test"}


def test_the_seed_decides_the_split(many: Path) -> None:
    def split_of(seed: int) -> dict[str, str]:
        return {name: record.fields["split"] for name, record in listed(opened(many, seed=seed))[0].items()}

    assert split_of(0) == split_of(0) != split_of(1)


def test_the_paper_preset_keeps_the_papers_share(many: Path) -> None:
    records, _, excluded = listed(opened(many, preset="paper"))
    share = (PAPER["train"] + 2 * PAPER["test"]) / 1_620_876
    assert abs(len(records) / 4000 - share) < 0.03
    assert len(records) + excluded["outside the share"] == 4000
    fractions = PathGen.presets["paper"]
    assert round(fractions["test"] * fractions["share"] * 1_620_876) == 8000
    assert round((1 - fractions["test"] - fractions["val"]) * fractions["share"] * 1_620_876) == 736_188


def test_a_smaller_share_is_part_of_a_larger_one(many: Path) -> None:
    small, large = (set(listed(opened(many, share=share))[0]) for share in (0.1, 0.4))
    assert 300 < len(small) < 500
    assert small < large


def test_splits_of_a_file(root: Path) -> None:
    parts = {"train": ["TCGA-AA-0002"], "val": [], "test": ["TCGA-AA-0001"]}
    value = {"splits": {split: {"patients": names, "sha256": hash_of(names)} for split, names in parts.items()}}
    (root / "splits.json").write_text(json.dumps(value))
    records, losses, excluded = listed(opened(root, split_file="splits.json"))
    assert splits(records, "patient") == {"TCGA-AA-0001": {"test"}, "TCGA-AA-0002": {"train"}}
    assert (losses, excluded) == ([], {"patient not in split_file": 1})


def test_shares_that_leave_nothing_are_refused(root: Path) -> None:
    with pytest.raises(UserError, match=r"option 'test'.*val and test leave nothing to train on"):
        opened(root, val=0.97)


# ---- what is wrong with the input ------------------------------------------------------------------------------------------


def test_wrong_entries_are_losses_by_number(root: Path) -> None:
    wrong = [
        {"wsi_id": FIRST, "position": ["0", "0"]},
        "text",
        entry(FIRST, 0, 0, "  "),
        {**entry(FIRST, 0, 0), "position": ["0", "-32"]},
        {**entry(FIRST, 0, 0), "position": [0.5, 1]},
        {**entry(FIRST, 0, 0), "wsi_id": 7},
        entry("GTEX-1117F-0126", 0, 0),
        entry("../../TCGA-AA-0001-01Z-00-DX1", 0, 0),
    ]
    good = {**entry(FIRST, 0, 0), "position": [320, 192]}  # numbers instead of text
    write_captions(root, [entry(FIRST, 0, 0), *wrong, good])
    records, losses, _ = listed(opened(root))
    assert set(records) == {f"{FIRST}_0_0", f"{FIRST}_320_192"}
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
        (json.dumps([entry("a", 0, 0)])[:-1] + ', {"wsi_id"', r"damaged JSON in entry 1 .*before byte \d+"),
        (json.dumps([entry("a", 0, 0)])[:-1], r"damaged JSON in entry 1 "),
        ("[nonsense]", "damaged JSON in entry 0 .*: lexical error: invalid"),
        ('{"wsi_id": "a"}', "is no JSON list: it begins with '{"),
        ("", "is no JSON list"),
        ("[]", "is an empty list"),
        ('[{"image": "a.png", "text": "b"}]', "holds no captions: entry 0 has no 'wsi_id'; its keys are: image, text"),
    ],
)  # fmt: skip
def test_damaged_or_other_json_is_named(root: Path, text: str, message: str) -> None:
    (root / "PathGen-1.6M.json").write_text(text)
    with pytest.raises(UserError, match=f"PathGen-1.6M.json' .*{message}"):
        listed(opened(root))


def test_a_byte_order_mark_does_no_harm(root: Path) -> None:
    path = root / "PathGen-1.6M.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(listed(opened(root))[0]) == 5


def test_captions_are_found_or_named(root: Path, tmp_path: Path) -> None:
    (root / "PathGen-1.6M.json").rename(root / "pathgen_sample.json")
    assert opened(root).captions.name == "pathgen_sample.json"
    assert len(listed(opened(root / "pathgen_sample.json"))[0]) == 5
    write_captions(root, ENTRIES[:1])
    with pytest.raises(UserError, match=r"several captions .*\(PathGen-1.6M.json, pathgen_sample.json\); option 'captions'"):
        opened(root)
    assert len(listed(opened(root, captions="pathgen_sample.json"))[0]) == 5
    with pytest.raises(UserError, match=r"option 'captions': no file '.*none.json'"):
        opened(root, captions="none.json")
    with pytest.raises(UserError, match=r"no \*PathGen\*.json in '.*'; option 'captions'"):
        opened(tmp_path)


def test_slides_may_lie_elsewhere(tmp_path: Path, slides: Path) -> None:
    write_captions(tmp_path, ENTRIES)
    with pytest.raises(UserError, match=r"no .svs slide below '.*'; option 'slides'"):
        listed(opened(tmp_path))
    with pytest.raises(UserError, match=r"option 'slides': no folder '.*/nowhere'"):
        opened(tmp_path, slides="nowhere")
    assert len(listed(opened(tmp_path, slides=slides))[0]) == 5


def test_an_unknown_option_names_the_nearest(root: Path) -> None:
    with pytest.raises(UserError, match="unknown option of pathgen 'micron_per_pixel'; did you mean 'microns_per_pixel'"):
        opened(root, micron_per_pixel=0.5)


# ---- at scale --------------------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_captions(tmp_path: Path, slides: Path) -> None:
    """15,000 captions of a kilobyte, 100 slides: a peak below a seventh of the file, most of it 128 open files and a bucket."""
    wsis = [f"TCGA-AA-{n:04d}-01Z-00-DX1.{UUID}" for n in range(100)]
    entries = [entry(wsis[n * 37 % 100], n * 32, 0, f"caption {n} " + "word " * 180) for n in range(15_000)]
    size = write_captions(tmp_path, entries).stat().st_size
    del entries
    archive = opened(tmp_path, slides=slides)
    tracemalloc.start()
    try:
        losses = sum(isinstance(item, Loss) for item in archive.records())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert losses == 15_000
    assert len(archive.facts()["missing_slides"]) == archive.facts()["slides"] == 100
    assert peak < size / 7, (peak, size)


def test_nothing_is_left_behind(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    records = opened(root).records()
    next(records)
    assert list((tmp_path / "scratch").iterdir())
    records.close()
    assert not list((tmp_path / "scratch").iterdir())


def test_prepared_it_is_a_data_set(root: Path, tmp_path: Path, blocks) -> None:
    """One missing slide, and one place of a slide that cannot be decoded: the rest becomes pairs."""
    worn = root / f"{FOURTH}.svs"
    worn.write_bytes((root / "slides" / "0a" / f"{FIRST}.svs").read_bytes())
    with tifffile.TiffFile(worn) as tiff:
        start, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(worn.read_bytes())
    data[start : start + size] = b"\xff" * size
    worn.write_bytes(data)
    write_captions(root, [*ENTRIES, entry(FOURTH, 0, 0), entry(FOURTH, 320, 320)])
    preparation = Preparation(opened(root), tmp_path / "out")
    plan = preparation.plan()
    assert plan.listing["pairs"] == 7
    made = preparation.make(plan)
    assert (sum(made.splits.values()), made.failures) == (6, 2)
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert [failure["item"] for failure in failures] == [f"{THIRD}_64_32", f"{FOURTH}_0_0"]
    assert f"slide '{worn}' is damaged at (0, 0)" in failures[1]["reason"]
    dataset = FolderDataset(tmp_path / "out")
    pairs = [dataset.pair(split, n) for split in ("train", "val", "test") for n in range(dataset.size(split))]
    assert {pair.extra["wsi"] for pair in pairs} == {FIRST, SECOND, FOURTH}
    assert all(pair.domain == "pathology" and pair.terms == PathGen.terms for pair in pairs)


# ---- the real captions -----------------------------------------------------------------------------------------------------


def write_boundless(path: Path, side: int) -> None:
    """A slide of which nothing was scanned: every tile of its file is empty."""
    tile = 16_384
    count = (-(-side // tile)) ** 2
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            iter([b""] * count), shape=(side, side, 3), dtype=np.uint8, tile=(tile, tile), photometric="rgb",
            compression="zlib", description=f"Aperio Image Library\r\n{side}x{side}|AppMag = 40|MPP = 0.2525", metadata=None,
        )  # fmt: skip


def test_the_real_sample_on_slides_without_content(shared_data: Path, tmp_path: Path) -> None:
    """The 3,776 real captions of 2,687 slides, each slide a link to one empty slide that is as large as the largest."""
    captions = shared_data / "text" / "pathgen" / "PathGen-1.6M_sample.json"
    if not captions.is_file():
        pytest.skip(f"no '{captions}'")
    names = sorted({value["wsi_id"] for value in json.loads(captions.read_text(encoding="utf-8"))})
    write_boundless(tmp_path / "empty.tif", 220_000)
    missing = names[::100]
    for name in set(names) - set(missing):
        (tmp_path / f"{name}.svs").symlink_to(tmp_path / "empty.tif")
    archive = opened(captions, slides=tmp_path)
    records, losses, excluded = listed(archive)
    facts = archive.facts()
    assert (facts["entries"], facts["slides"], len(records) + len(losses)) == (3776, 2687, 3776)
    assert not excluded
    assert sorted(slide["wsi"] for slide in facts["missing_slides"]) == missing
    assert sum(slide["pairs"] for slide in facts["missing_slides"]) == len(losses)
    assert all(len(found) == 1 for found in splits(records, "patient").values())
    assert {record.fields["patient"][:5] for record in records.values()} == {"TCGA-"}
    assert facts["slides_by_microns_per_pixel"] == {"0.25": 2687 - len(missing)}
    image = archive.image(next(iter(records.values())).source)
    assert image.getextrema() == ((255, 255),) * 3  # what was never scanned is white
