"""PathGen: captions and slides become pairs."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile

from medim.common.errors import UserError
from medim.data.archives.archive import Loss, Record
from medim.data.archives.pathgen.archive import PAPER, PATCH, PathGen
from medim.data.archives.preparation.prepare import Preparation
from medim.data.sources.folder import FolderDataset


def test_every_caption_becomes_a_pair_or_a_loss(pathgen, pathgen_root: Path) -> None:
    archive = pathgen.opened(pathgen_root)
    records, losses, excluded = pathgen.listed(archive)
    assert set(records) == {
        f"{pathgen.first}_320_192",
        f"{pathgen.first}_0_0",
        f"{pathgen.first}_1344_832",
        f"{pathgen.second}_0_0",
        f"{pathgen.second}_1376_864",
    }
    assert losses == [
        Loss(f"{pathgen.third}_64_32", f"slide '{pathgen.third}' is not below '{pathgen_root}' (its download is not finished)"),
    ]
    assert not excluded
    facts = archive.facts()
    assert (facts["entries"], facts["slides"], facts["damaged_slides"]) == (6, 3, [])
    assert facts["missing_slides"] == [{"wsi": pathgen.third, "file_id": "f3", "pairs": 1}]
    assert facts["slides_by_microns_per_pixel"] == {"0.25": 1, "0.50": 1}
    assert facts["expected"]["medim_paper"] == PAPER == {"train": 736_188, "test": 8_000}


def test_the_fields_of_a_pair(pathgen, pathgen_root: Path) -> None:
    record = pathgen.listed(pathgen.opened(pathgen_root))[0][f"{pathgen.first}_320_192"]
    fields = dict(record.fields)
    assert fields.pop("split") in ("train", "val", "test")
    assert fields == {
        "id": f"{pathgen.first}_320_192",
        "report": "tissue at 320, 192",
        "patient": "TCGA-AA-0001",
        "site": "TCGA-AA",
        "study": f"{pathgen.first}_320_192",
        "domain": "pathology",
        "terms": PathGen.terms,
        "wsi": pathgen.first,
        "position": [320, 192],
        "level": 0,
        "tile": 672,
        "microns_per_pixel": 0.25,
    }
    assert json.loads(json.dumps(record.source)) == record.source == [f"slides/0a/{pathgen.first}.svs", 320, 192]


def test_pairs_of_a_slide_follow_each_other(pathgen, pathgen_root: Path) -> None:
    wsis = [item.fields["wsi"] for item in pathgen.opened(pathgen_root).records() if isinstance(item, Record)]
    assert [slide for n, slide in enumerate(wsis) if n == 0 or slide != wsis[n - 1]] in (
        [pathgen.first, pathgen.second],
        [pathgen.second, pathgen.first],
    )


def test_the_order_depends_on_the_archive_alone(pathgen, pathgen_root: Path) -> None:
    once, again = (list(pathgen.opened(pathgen_root).records()) for _ in range(2))
    assert once == again


def test_the_picture_is_what_the_caption_describes(pathgen, pathgen_root: Path, blocks) -> None:
    archive = pickle.loads(pickle.dumps(pathgen.opened(pathgen_root)))
    for name, record in pathgen.listed(archive)[0].items():
        x, y = map(int, name.rsplit("_", 2)[1:])
        image = archive.image(record.source)
        np.testing.assert_array_equal(np.asarray(image), blocks(2048, 1536, 0)[y : y + PATCH, x : x + PATCH])


def test_another_tile_or_scale_keeps_the_centre_of_the_caption(pathgen, pathgen_root: Path, blocks) -> None:
    """0.5 microns: 2 x 2 pixels of level 0 for each of the first slide, as it is in the second."""
    archive = pathgen.opened(pathgen_root, tile=320, microns_per_pixel=0.5)
    records, losses, _ = pathgen.listed(archive)
    first, second = records[f"{pathgen.first}_320_192"], records[f"{pathgen.second}_1376_864"]
    assert (first.source[1:], second.source[1:]) == ([320 + 336 - 320, 192 + 336 - 320], [1376 + 176, 864 + 176])
    assert first.fields["microns_per_pixel"] == second.fields["microns_per_pixel"] == 0.5
    image = np.asarray(archive.image(first.source))
    assert image.shape == (320, 320, 3)
    assert image[161, 161, :2].tolist() == [(336 + 322) // 32 * 3, (208 + 322) // 32 * 4]
    expected = blocks(2048, 1536, 0)[864 + 176 :, 1376 + 176 :][:320, :320]
    np.testing.assert_array_equal(np.asarray(archive.image(second.source)), expected)
    assert len(losses) == 1


def test_what_leaves_the_slide_or_was_scanned_too_coarsely_is_lost_by_name(pathgen, pathgen_root: Path) -> None:
    records, losses, _ = pathgen.listed(pathgen.opened(pathgen_root, microns_per_pixel=0.25))
    assert set(records) == {f"{pathgen.first}_320_192", f"{pathgen.first}_0_0", f"{pathgen.first}_1344_832"}
    reasons = {loss.item: loss.reason for loss in losses}
    assert "scanned at 0.5 microns per pixel" in reasons[f"{pathgen.second}_0_0"]
    pathgen.write_captions(pathgen_root, [pathgen.entry(pathgen.first, 0, 0), pathgen.entry(pathgen.first, 1377, 0)])
    _, losses, _ = pathgen.listed(pathgen.opened(pathgen_root))
    assert [loss.item for loss in losses] == [f"{pathgen.first}_1377_0"]
    assert "has 2048 x 1536 pixels; the tile of 672 x 672 at (1377, 0) leaves it" in losses[0].reason


def test_a_slide_without_scale_is_lost_or_read_by_its_objective(pathgen, tmp_path: Path, write_slide) -> None:
    write_slide(tmp_path / f"{pathgen.first}.svs", mpp=None, power="20")
    pathgen.write_captions(tmp_path, [pathgen.entry(pathgen.first, 0, 0)])
    assert pathgen.listed(pathgen.opened(tmp_path))[0][f"{pathgen.first}_0_0"].fields["microns_per_pixel"] is None
    records, losses, _ = pathgen.listed(pathgen.opened(tmp_path, microns_per_pixel=0.5))
    assert not records
    assert "does not tell its microns per pixel" in losses[0].reason
    archive = pathgen.opened(tmp_path, microns_per_pixel=0.5, on_missing_mpp="objective")
    (record,) = pathgen.listed(archive)[0].values()
    assert record.fields["microns_per_pixel"] == 0.5
    assert archive.image(record.source).size == (672, 672)


def test_a_broken_slide_costs_its_own_pairs_only(pathgen, pathgen_root: Path, pathgen_slides: Path, write_slide) -> None:
    broken = pathgen_root / f"{pathgen.fourth}.svs"
    broken.write_bytes((pathgen_slides / "0a" / f"{pathgen.first}.svs").read_bytes()[:700])
    pathgen.write_captions(
        pathgen_root, [*pathgen.entries, pathgen.entry(pathgen.fourth, 0, 0), pathgen.entry(pathgen.fourth, 32, 0)]
    )
    archive = pathgen.opened(pathgen_root)
    records, losses, _ = pathgen.listed(archive)
    assert len(records) == 5
    assert Counter(loss.item.partition("_")[0] for loss in losses) == {pathgen.third: 1, pathgen.fourth: 2}
    (damaged,) = archive.facts()["damaged_slides"]
    assert (damaged["wsi"], damaged["pairs"]) == (pathgen.fourth, 2)
    assert f"slide '{broken}' cannot be opened" in damaged["reason"]


def test_a_slide_may_be_named_by_its_barcode_alone_but_not_by_another_uuid(pathgen, tmp_path: Path, write_slide) -> None:
    write_slide(tmp_path / f"{pathgen.first.partition('.')[0]}.svs")
    write_slide(tmp_path / f"{pathgen.second.partition('.')[0]}.{pathgen.uuid}.svs")
    pathgen.write_captions(tmp_path, [pathgen.entry(pathgen.first, 0, 0), pathgen.entry(pathgen.second, 0, 0)])
    records, losses, _ = pathgen.listed(pathgen.opened(tmp_path))
    assert (list(records), [loss.item for loss in losses]) == ([f"{pathgen.first}_0_0"], [f"{pathgen.second}_0_0"])


def test_linked_folders_are_followed_once(pathgen, tmp_path: Path, pathgen_slides: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(pathgen_slides)
    pathgen.write_captions(tmp_path, pathgen.entries)
    assert len(pathgen.listed(pathgen.opened(tmp_path))[0]) == 5


def test_slides_may_lie_elsewhere(pathgen, tmp_path: Path, pathgen_slides: Path) -> None:
    pathgen.write_captions(tmp_path, pathgen.entries)
    with pytest.raises(UserError, match=r"no .svs slide below '.*'; option 'slides'"):
        pathgen.listed(pathgen.opened(tmp_path))
    with pytest.raises(UserError, match=r"option 'slides': no folder '.*/nowhere'"):
        pathgen.opened(tmp_path, slides="nowhere")
    assert len(pathgen.listed(pathgen.opened(tmp_path, slides=pathgen_slides))[0]) == 5


def test_an_unknown_option_names_the_nearest(pathgen, pathgen_root: Path) -> None:
    with pytest.raises(UserError, match="unknown option of pathgen 'micron_per_pixel'; did you mean 'microns_per_pixel'"):
        pathgen.opened(pathgen_root, micron_per_pixel=0.5)


def test_prepared_it_is_a_data_set(pathgen, pathgen_root: Path, tmp_path: Path, blocks) -> None:
    """One missing slide, and one place of a slide that cannot be decoded: the rest becomes pairs."""
    worn = pathgen_root / f"{pathgen.fourth}.svs"
    worn.write_bytes((pathgen_root / "slides" / "0a" / f"{pathgen.first}.svs").read_bytes())
    with tifffile.TiffFile(worn) as tiff:
        start, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(worn.read_bytes())
    data[start : start + size] = b"\xff" * size
    worn.write_bytes(data)
    pathgen.write_captions(
        pathgen_root, [*pathgen.entries[1:], pathgen.entry(pathgen.fourth, 0, 0), pathgen.entry(pathgen.fourth, 320, 320)]
    )  # without the first entry, whose tile is another slide's to the pixel
    whole = Preparation(pathgen.opened(pathgen_root), tmp_path / "whole").dry_plan()
    assert whole.listing["short"][0].startswith(f"captions: 7 of 1,620,876 are in '{pathgen_root}")
    preparation = Preparation(pathgen.opened(pathgen_root, part=True), tmp_path / "out")
    with preparation.claimed():
        plan = preparation.plan()
        assert plan.listing["pairs"] == 6
        made = preparation.make(plan)
    assert (sum(made.splits.values()), made.failures) == (5, 2)
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert [failure["item"] for failure in failures] == [f"{pathgen.third}_64_32", f"{pathgen.fourth}_0_0"]
    assert f"slide '{worn}' is damaged at (0, 0)" in failures[1]["reason"]
    dataset = FolderDataset(tmp_path / "out")
    pairs = [dataset.pair(split, n) for split in ("train", "val", "test") for n in range(dataset.size(split))]
    assert {pair.extra["wsi"] for pair in pairs} == {pathgen.first, pathgen.second, pathgen.fourth}
    assert all(pair.domain == "pathology" and pair.terms == PathGen.terms for pair in pairs)


def write_boundless(path: Path, side: int) -> None:
    """A slide of which nothing was scanned: every tile of its file is empty."""
    tile = 16_384
    count = (-(-side // tile)) ** 2
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            iter([b""] * count),
            shape=(side, side, 3),
            dtype=np.uint8,
            tile=(tile, tile),
            photometric="rgb",
            compression="zlib",
            description=f"Aperio Image Library\r\n{side}x{side}|AppMag = 40|MPP = 0.2525",
            metadata=None,
        )


def test_the_real_sample_on_slides_without_content(pathgen, shared_data: Path, tmp_path: Path) -> None:
    """The 3,776 real captions of 2,687 slides, each slide a link to one empty slide that is as large as the largest."""
    captions = shared_data / "text" / "pathgen" / "PathGen-1.6M_sample.json"
    if not captions.is_file():
        pytest.skip(f"no '{captions}'")
    names = sorted({value["wsi_id"] for value in json.loads(captions.read_text(encoding="utf-8"))})
    write_boundless(tmp_path / "empty.tif", 220_000)
    missing = names[::100]
    for name in set(names) - set(missing):
        (tmp_path / f"{name}.svs").symlink_to(tmp_path / "empty.tif")
    archive = pathgen.opened(captions, slides=tmp_path)
    records, losses, excluded = pathgen.listed(archive)
    facts = archive.facts()
    assert (facts["entries"], facts["slides"], len(records) + len(losses)) == (3776, 2687, 3776)
    assert not excluded
    assert sorted(slide["wsi"] for slide in facts["missing_slides"]) == missing
    assert sum(slide["pairs"] for slide in facts["missing_slides"]) == len(losses)
    assert all(len(found) == 1 for found in pathgen.splits(records, "patient").values())
    assert {record.fields["patient"][:5] for record in records.values()} == {"TCGA-"}
    assert facts["slides_by_microns_per_pixel"] == {"0.25": 2687 - len(missing)}
    image = archive.image(next(iter(records.values())).source)
    assert image.getextrema() == ((255, 255),) * 3  # what was never scanned is white
